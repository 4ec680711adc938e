"""``omnitrace plan``: what a request will cost, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnitrace.cli.console import StatusLine, make_console, print_json, print_notes, print_table
from omnitrace.cli.exit_codes import MISTAKE, guarded, say_mistake
from omnitrace.cli.loading import media_limits, quiet_loading
from omnitrace.cli.options import Device, MaxNewTokens, MediaRoot
from omnitrace.sources.request_files import RequestProblem, read_requests

if TYPE_CHECKING:
    from omnitrace.engine.planning.costs import SignalCost
    from omnitrace.engine.planning.result import Plan

__all__ = ["plan"]


@guarded
def plan(
    request: Annotated[
        Path,
        typer.Argument(metavar="REQUEST", help="A request file, as for 'omnitrace trace'."),
    ],
    model: Annotated[
        str, typer.Option(help="The model to plan for; of a hub id no weights are downloaded.")
    ] = "reference",
    signal: Annotated[
        list[str] | None,
        typer.Option(
            help="A signal to plan with. Repeatable; by default what 'omnitrace trace' does, and "
            "every installed signal.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="Precision of the weights, such as bfloat16; by default the model's."),
    ] = None,
    max_new_tokens: MaxNewTokens = 256,
    device: Device = None,
    memory: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Memory that may be used, in GB; by default what is free on the device.",
            show_default=False,
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Load the model, and measure its speed: the plan then has seconds."
        ),
    ] = False,
    media_root: MediaRoot = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document a request, one a line.")
    ] = False,
) -> None:
    """Say how many tokens, how much memory and how many passes a request will take.

    Tokens are counted by the model's own processor. Memory and passes are estimates, from shapes
    and sizes: no weight is loaded.
    """
    entries = read_requests(request, media_root=media_root)
    problems = [entry for entry in entries if isinstance(entry, RequestProblem)]
    for problem in problems:
        say_mistake(f"{problem.id}: {problem.error}")
    with StatusLine() as status:
        quiet_loading()
        from omnitrace.engine.planning.plan import every_signal
        from omnitrace.engine.planning.plan import plan as planned
        from omnitrace.models.devices import usual_device

        for entry in entries:
            if isinstance(entry, RequestProblem):
                continue
            status.show(f"planning {entry.id}")
            found = planned(
                entry.messages,
                model=model,
                signals=every_signal() if signal is None else signal,
                max_new_tokens=max_new_tokens,
                dtype=dtype,
                device=device or usual_device(),
                limits=media_limits(),
                memory=None if memory is None else round(memory * 1e9),
                media_root=entry.media_root,
                measure=measure,
            )
            with status.paused():
                if as_json:
                    print_json({"id": entry.id, **found.to_dict()})
                else:
                    _print(found, entry.id)
    raise typer.Exit(MISTAKE if problems else 0)


def _print(plan: Plan, title: str) -> None:
    console = make_console()
    sources = [
        (
            f"messages[{each.message}] part {each.part}",
            each.modality,
            f"{each.tokens:,}",
            str(each.units) if each.units else "-",
            each.name,
        )
        for each in plan.sources
    ]
    print_table(console, [(title, "modality", "tokens", "units", ""), *sources])
    limit = "" if plan.context_limit is None else f" of {plan.context_limit:,} that the model takes"
    print_notes(
        console,
        [
            f"prompt {plan.prompt_tokens:,} tokens, response up to {plan.max_new_tokens:,}{limit}",
            f"{plan.model} in {plan.dtype} on {plan.device}: weights {_size(plan.weights)}, keys "
            f"and values {_size(plan.cache)}"
            + (f", Python and libraries {_size(plan.process)}" if plan.process else ""),
            f"peak without a tracer {_size(plan.peak_untraced)}"
            + ("" if plan.available is None else f"; {_size(plan.available)} may be used"),
        ],
    )
    print_table(console, [_HEADING, *(_line(plan, each) for each in plan.signals)])
    print_notes(console, _explained(plan.signals))
    for line in plan.advice:
        console.print(f"- {line}", soft_wrap=True)


_HEADING = ("signal", "peak memory", "decoding", "passes after it", "seconds")


def _line(plan: Plan, cost: SignalCost) -> tuple[str, ...]:
    if cost.problem:
        return (cost.signal, "-", "-", "-", cost.problem)
    passes = "not known" if cost.passes is None else f"up to {cost.passes:,.0f}"
    return (
        cost.signal,
        _size(plan.resident + max(plan.loading, cost.peak)),
        f"{cost.decoding:.2f} times",
        passes if cost.passes != 0 else "none",
        "-" if cost.seconds is None else f"up to {cost.seconds:.1f}",
    )


def _explained(costs: Sequence[SignalCost]) -> list[str]:
    lines = [
        "decoding: times that of decoding without a tracer, as measured with SmolLM2; a pass reads "
        "prompt and response once"
    ]
    if all(cost.seconds is None for cost in costs):
        lines.append("seconds: only with --measure, which loads the model")
    else:
        lines.append("seconds: an estimate from one measured prefill and a few decoded tokens")
    return lines


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
