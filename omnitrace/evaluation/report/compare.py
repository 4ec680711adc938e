"""Compare two evaluations of the same labels, span by span, and check the rules of a gate.

Every difference is B − A (so a loss of quality is negative), on the pairs in which both are
defined: the same labelled span or word, in the same example, said by both traces. Intervals are
bootstraps over examples, as of a single evaluation, with both sides of a pair drawn together.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from omnitrace.errors import InputError, did_you_mean
from omnitrace.evaluation.aggregate import ALL, by_example, groups_of, together
from omnitrace.evaluation.metrics.bootstrap import Estimate, bootstrap, paired_difference
from omnitrace.evaluation.metrics.registry import TOGETHER
from omnitrace.evaluation.report.results_file import EvaluationFile
from omnitrace.evaluation.rows import TRACED, ScoreRow

__all__ = ["Difference", "Rule", "check_rule", "compare", "parse_rule", "table_of_differences"]

_Pair: TypeAlias = tuple[ScoreRow, ScoreRow]

_WORDS: Final = "words"
_FORM: Final = (
    "METRIC, METRIC.low or METRIC.high, then @GROUP if not of all spans, then <, <=, > or >= and a "
    "number, such as 'f1 < -0.02' or 'f1.high@modality: image < 0'"
)
_RULE: Final = re.compile(
    r"\s*(?P<metric>[^\s<>=@]+?)(?:\.(?P<end>low|high))?\s*(?:@(?P<group>.+?))?"
    r"\s*(?P<sign><=|>=|<|>)\s*(?P<number>[^\s<>=]+)\s*"
)
_SIGNS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Difference:
    """How B differs from A in one metric and one group.

    ``group`` is "all" or such as "modality: image" for spans; of words it is "words" or such as
    "words, modality: image". ``first`` and ``second`` are the metric of A and B on the pairs,
    ``estimate`` is B − A with its interval; its ``count`` is the number of pairs (of examples, for
    what is no mean over spans), ``undefined`` the number of pairs that were left out.
    """

    group: str
    metric: str
    first: float
    second: float
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition under which a comparison fails, such as ``f1 < -0.02``.

    It is on the difference B − A if ``end`` is None, else on the "low" or "high" end of its
    interval.
    """

    text: str
    metric: str
    end: str | None
    group: str
    sign: str
    number: float

    def holds(self, estimate: Estimate) -> bool:
        """Say whether a difference meets the condition."""
        return _SIGNS[self.sign](self.subject(estimate), self.number)

    def subject(self, estimate: Estimate) -> float:
        """Return the number of a difference that the rule is on; NaN where it is undefined."""
        value: float = getattr(estimate, self.end or "value")
        return value


def parse_rule(text: str) -> Rule:
    """Read a rule.

    Raises
    ------
    InputError
        If it is none.
    """
    match = _RULE.fullmatch(text)
    try:
        number = float(match["number"]) if match else math.nan
    except ValueError:
        number = math.nan
    if match is None or not math.isfinite(number):
        raise InputError(f"{text!r} is no rule", legal=_FORM)
    group = (match["group"] or ALL).strip()
    return Rule(text, match["metric"], match["end"], group, match["sign"], number)


def compare(
    first: EvaluationFile,
    second: EvaluationFile,
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[Difference, ...]:
    """Return all paired differences ``second − first`` of the traces, by group and metric.

    Parameters
    ----------
    first, second:
        A and B: evaluations of the same labels and the same examples.
    level, draws, seed:
        Of the bootstrap intervals, over examples.

    Raises
    ------
    InputError
        If the labels or the examples are not the same, effects are measured in two ways, or a file
        has no rows of a trace.
    """
    groups: dict[str, list[_Pair]] = {}
    for pair in _pairs(first, second):
        for group in _groups(pair[0]):
            groups.setdefault(group, []).append(pair)
    found: list[Difference] = []
    for group, pairs in groups.items():
        metrics = [name for name in pairs[0][0].values if name in pairs[0][1].values]
        for metric in metrics:
            found.append(_mean(group, metric, pairs, level, draws, seed))
        if group == ALL:
            found += _together(pairs, level, draws, seed)
    return tuple(found)


def _groups(row: ScoreRow) -> list[str]:
    names = groups_of(row)
    if row.level == "span":
        return names
    return [_WORDS if name == ALL else f"{_WORDS}, {name}" for name in names]


def _pairs(first: EvaluationFile, second: EvaluationFile) -> list[_Pair]:
    _check_labels(first, second)
    sides: list[dict[tuple[str, int, int | None], ScoreRow]] = []
    for each in (first, second):
        rows = {(r.example, r.span, r.word): r for r in each.rows if r.method == TRACED}
        if not rows:
            raise InputError(f"{each.path!r} has no rows of {TRACED!r}", fix="evaluate again")
        sides.append(rows)
    if odd := sides[0].keys() ^ sides[1].keys():
        example, span, _ = min(odd, key=lambda key: (key[0], key[1]))
        raise InputError(
            f"only one of {first.path!r} and {second.path!r} has span {span} of {example!r}",
            legal="two evaluations of the same labels",
            fix="evaluate again",
        )
    return [(row, sides[1][key]) for key, row in sides[0].items()]


def _check_labels(first: EvaluationFile, second: EvaluationFile) -> None:
    both = first.labels.keys() & second.labels.keys()
    changed = sorted(name for name in both if first.labels[name] != second.labels[name])
    if changed or not both:
        named = f"the labels of {_some(changed)}" if changed else "all examples"
        raise InputError(
            f"{first.path!r} and {second.path!r} are of other labels: {named} differ",
            legal="two evaluations with the same label file",
            fix="evaluate both with the same --labels",
        )
    for one, other in ((first, second), (second, first)):
        if missing := sorted(one.labels.keys() - other.labels.keys()):
            raise InputError(
                f"{other.path!r} lacks {_some(missing)}, which {one.path!r} has",
                legal="two evaluations of the same examples",
                fix="evaluate the traces of the same requests for both",
            )
    if first.effects and second.effects and first.effects != second.effects:
        settings = [
            ", ".join(f"{k} {v}" for k, v in each.effects.items()) for each in (first, second)
        ]
        raise InputError(
            f"the effects in {first.path!r} are measured with {settings[0]}, those in "
            f"{second.path!r} with {settings[1]}",
            legal="two evaluations whose effects are measured alike",
            fix="evaluate both with the same --operator and --seed",
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _mean(
    group: str, metric: str, pairs: Sequence[_Pair], level: float, draws: int, seed: int
) -> Difference:
    examples: dict[str, list[_Pair]] = {}
    for pair in pairs:
        examples.setdefault(pair[0].example, []).append(pair)
    sides = [
        [[pair[side].values.get(metric) for pair in each] for each in examples.values()]
        for side in (0, 1)
    ]
    estimate = paired_difference(sides[1], sides[0], level=level, draws=draws, seed=seed)
    defined = [
        (a, b)
        for one, other in zip(*sides, strict=True)
        for a, b in zip(one, other, strict=True)
        if a is not None and b is not None
    ]
    first, second = np.mean(defined, axis=0) if defined else (math.nan, math.nan)
    return Difference(group, metric, float(first), float(second), estimate)


def _together(pairs: Sequence[_Pair], level: float, draws: int, seed: int) -> Iterator[Difference]:
    """Yield the differences of what is no mean over spans, on the spans that both say."""
    said = [pair for pair in pairs if pair[0].said and pair[1].said]
    first, second = (together([pair[side] for pair in said], TRACED)[1] for side in (0, 1))
    count = len(by_example(pair[0] for pair in said))
    for metric in (name for name in first if name in second):
        of_first, of_second = first[metric], second[metric]

        def statistic(
            picks: np.ndarray,
            one: Callable[[np.ndarray], float | None] = of_first,
            other: Callable[[np.ndarray], float | None] = of_second,
        ) -> float | None:
            a, b = one(picks), other(picks)
            return None if a is None or b is None else b - a

        estimate = bootstrap(count, statistic, level=level, draws=draws, seed=seed)
        everything = np.arange(count)
        values = [
            math.nan if not count or (found := side(everything)) is None else found
            for side in (of_first, of_second)
        ]
        yield Difference(ALL, metric, values[0], values[1], estimate)


def table_of_differences(differences: Iterable[Difference]) -> list[list[str]]:
    """Return a heading and a row of cells for each difference.

    "pairs" are those in which both sides are defined, "left out" the others; of what is no mean
    over spans, examples are counted. Differences without a pair are not listed, nor groups that
    hold everything.
    """
    listed = list(differences)
    whole = {
        (_WORDS if d.group.startswith(_WORDS) else ALL, d.metric): d.estimate.count
        for d in listed
        if d.group in (ALL, _WORDS)
    }
    rows = [["group", "metric", "pairs", "left out", "A", "B", "B − A"]]  # noqa: RUF001
    for each in listed:
        base = _WORDS if each.group.startswith(_WORDS) else ALL
        everything = each.group != base and whole.get((base, each.metric)) == each.estimate.count
        if each.estimate.count and not everything:
            sides = (f"{each.first:.3f}", f"{each.second:.3f}")
            # Of what is no mean over spans, `undefined` counts draws and no pairs.
            out = "" if each.metric in TOGETHER else str(each.estimate.undefined)
            count = str(each.estimate.count)
            rows.append([each.group, each.metric, count, out, *sides, each.estimate.text(3)])
    return rows


def check_rule(rule: Rule, differences: Sequence[Difference]) -> tuple[bool, Difference]:
    """Say whether a rule fails the comparison, and by which difference.

    Raises
    ------
    InputError
        If there is no such metric or group, or the difference is undefined: a gate that checks
        nothing must not pass.
    """
    groups = dict.fromkeys(each.group for each in differences)
    group = {_squeezed(name): name for name in groups}.get(_squeezed(rule.group))
    if group is None:
        raise _unknown("group", rule.group, groups, rule)
    here = {each.metric: each for each in differences if each.group == group}
    if rule.metric not in here:
        raise _unknown("metric", rule.metric, here, rule, f" in the group {group!r}")
    found = here[rule.metric]
    if not math.isfinite(rule.subject(found.estimate)):
        raise InputError(
            f"the rule {rule.text!r} cannot be checked: {rule.metric!r} is undefined in the group "
            f"{group!r}",
            legal="a metric with at least one pair in which both are defined",
        )
    return rule.holds(found.estimate), found


def _squeezed(name: str) -> str:
    return re.sub(r"\s*([:,])\s*", r"\1", name.strip())


def _unknown(kind: str, name: str, known: Iterable[str], rule: Rule, where: str = "") -> InputError:
    return InputError(
        f"there is no {kind} {name!r}{where}, of the rule {rule.text!r}",
        legal=", ".join(map(repr, known)),
        fix=did_you_mean(name, known, most=3, cutoff=0.5),
    )
