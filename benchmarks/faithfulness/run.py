"""Every method on every example, measured and judged: what the benchmarks of faithfulness share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from common.examples import Example, Grouping, Subject
    from common.methods import Method
    from common.scoring import Judged, Plan

__all__ = ["Found", "fit", "judge_examples"]


@dataclass(slots=True)
class Found:
    """What a run found out.

    ``costs`` are the forward-equivalents and seconds of each example, ``fits`` those of fitting a
    method once, ``skipped`` the methods above the budget with what they cost, ``refused`` what a
    method said of the first example that it cannot score. ``groups`` are the methods' kinds,
    ``grouped`` counts the spans in each group of spans.
    """

    judged: list[Judged] = field(default_factory=list)
    costs: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    fits: dict[str, dict[str, float]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    grouped: Counter[str] = field(default_factory=Counter)
    spans: int = 0
    answer_tokens: int = 0
    forwards: int = 0


def fit(method: Method, subject: Subject, train: Sequence[Example]) -> dict[str, float]:
    """Fit a method on the training examples, or find what it learned; return what that cost."""
    from common.meter import Meter

    key = {"method": method.key, "model": subject.digest, "train": [each.key for each in train]}

    def run() -> dict[str, Any]:
        method.prepare(subject)
        with Meter(subject.tracer.adapter.decoder) as meter:
            learned = method.fit(subject, train)
        length = sum(each.tokens for each in train) / len(train)
        cost = {"forwards": meter.equivalents(1) / length, "seconds": meter.seconds}
        return {"learned": learned, "cost": cost}

    kept = subject.kept.document("fits", key, run)
    method.use(kept["learned"])
    cost: dict[str, float] = kept["cost"]
    return cost


def judge_examples(
    subject: Subject,
    methods: Sequence[Method],
    examples: Sequence[Example],
    plan: Callable[[int], Plan],
    *,
    train: Sequence[Example] = (),
    budget: float | None = None,
    grouping: Grouping | None = None,
    what: str = "documents",
) -> Found:
    """Run every method on every example, measure, and judge.

    Parameters
    ----------
    subject, methods, examples:
        The model, what is judged, and on what.
    plan:
        What is measured on the example of this number.
    train:
        What learning methods are fitted on.
    budget:
        Forward-equivalents that a method may spend on an example; what needs more on the first one
        is left out.
    grouping:
        Which spans are in which group.
    what:
        What examples are called, for the progress bar.
    """
    from rich.progress import track

    from common.scoring import judge

    found = Found(groups={method.name: method.group for method in methods})
    for method in methods:
        if method.learns:
            found.fits[method.name] = fit(method, subject, train)
    for number, example in enumerate(track(examples, description=what)):
        scores, fitted = _attributed(found, subject, methods, example, None if number else budget)
        groups = grouping(example) if grouping else {}
        found.judged.append(
            judge(
                lambda masks, operator, of=example: subject.measure(of, masks, operator),
                scores,
                fitted,
                name=example.name,
                sizes=example.sizes,
                span_tokens=example.span_tokens,
                plan=plan(number),
                groups=groups,
            )
        )
        found.grouped.update({name: int(inside.sum()) for name, inside in groups.items()})
        found.spans += len(example.spans)
        found.answer_tokens += len(example.trace.token_ids)
    found.forwards = subject.forwards
    return found


def _attributed(
    found: Found,
    subject: Subject,
    methods: Sequence[Method],
    example: Example,
    budget: float | None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the scores, ``[S, K]``, and the fitted masks, ``[m, K]``, of each method."""
    import numpy as np

    from common.methods import metered

    scores, fitted = {}, {}
    for method in methods:
        if method.name in found.skipped:
            continue
        refusal = method.refusal(example)
        if refusal is not None:
            found.refused.setdefault(method.name, refusal)
            continue
        said = metered(method, subject, example)
        if budget is not None and said["forwards"] > budget:
            found.skipped[method.name] = said["forwards"]
            continue
        scores[method.name] = np.array(said["scores"])
        masks = np.array(said["fitted"], dtype=bool)
        fitted[method.name] = masks.reshape(-1, len(example.trace.units))
        costs = found.costs.setdefault(method.name, [])
        costs.append((said["forwards"], said["seconds"]))
    return scores, fitted
