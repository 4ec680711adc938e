"""Run sanity checks on examples: requests that the model answers, and traces that it wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from omnitrace.errors import InputError, OmnitraceError
from omnitrace.evaluation.example_set import Examples
from omnitrace.evaluation.model_access import respond
from omnitrace.evaluation.progress import ProgressCallback, no_progress
from omnitrace.evaluation.sanity.cases import Case, case_of, case_of_trace, tracers_of
from omnitrace.evaluation.sanity.report import Sanity, SanityOptions, check_all
from omnitrace.sources.request_files import RequestEntry, RequestProblem
from omnitrace.trace.trace import Trace
from omnitrace.tracer import Tracer

__all__ = ["cases_of", "check_examples"]


def check_examples(
    examples: Examples,
    tracer: Tracer,
    signals: Sequence[str],
    *,
    options: SanityOptions | None = None,
    second: Tracer | None = None,
    progress: ProgressCallback = no_progress,
    failed: Callable[[str, str], None] | None = None,
) -> Sanity:
    """Run the checks on requests, and on traces with their media.

    Parameters
    ----------
    examples:
        What is checked; see :func:`~omnitrace.evaluation.example_set.read_examples`.
    tracer:
        Of the model; for traces the one that wrote them.
    signals:
        Names of the signals that are checked; "default" stands for the tracer's default.
    options:
        What is checked, and how.
    second:
        Of another model, whose supports of the same responses are compared where stability is
        measured.
    progress, failed:
        Called with what is being done; and with the name of an example that cannot be checked,
        and why. The others go on; the result lists them as ``skipped``.

    Raises
    ------
    InputError
        If no example can be checked, or there is a second model for nothing.
    """
    options = options or SanityOptions()
    if second is not None and options.stability is None:
        raise InputError("a second model is given", legal="one where stability is measured")
    tracers = tracers_of(tracer, signals)
    others = None if second is None else tracers_of(second, signals)
    cases, skipped = cases_of(
        examples,
        tracers,
        max_new_tokens=options.max_new_tokens,
        progress=progress,
        failed=failed,
    )
    return check_all(
        tracers, cases, options=options, second=others, skipped=skipped, progress=progress
    )


def cases_of(
    examples: Examples,
    tracers: Mapping[str, Tracer],
    *,
    max_new_tokens: int = 256,
    progress: ProgressCallback = no_progress,
    failed: Callable[[str, str], None] | None = None,
) -> tuple[list[Case], dict[str, str]]:
    """Answer requests, and replay responses with every signal.

    Parameters
    ----------
    examples:
        What is checked.
    tracers:
        By signal, from :func:`~omnitrace.evaluation.sanity.cases.tracers_of`.
    max_new_tokens:
        Longest response to a request, in tokens.
    progress, failed:
        As for :func:`check_examples`.

    Returns
    -------
    tuple
        The cases, and of the other examples why they are none.

    Raises
    ------
    InputError
        If there is no case.
    """
    cases: list[Case] = []
    skipped: dict[str, str] = {}
    for name, example in examples:
        progress(f"{name}: reading")
        try:
            if isinstance(example, RequestProblem):
                raise example.error
            if isinstance(example, RequestEntry):
                cases.append(_answered(example, tracers, max_new_tokens))
            else:
                cases.append(case_of_trace(tracers, name, Trace.load(example)))
        except OmnitraceError as error:
            skipped[name] = str(error)
            if failed is not None:
                failed(name, str(error))
    if not cases:
        raise InputError(f"none of {len(skipped)} examples can be checked")
    return cases, skipped


def _answered(request: RequestEntry, tracers: Mapping[str, Tracer], max_new_tokens: int) -> Case:
    messages, root = request.messages, request.media_root
    tracer = next(iter(tracers.values()))  # all hold the same model
    template = request.template
    ids = respond(
        tracer, messages, media_root=root, template=template, max_new_tokens=max_new_tokens
    )
    if not ids:
        raise InputError("the response is empty")
    return case_of(tracers, request.id, messages, ids, media_root=root, template=template)
