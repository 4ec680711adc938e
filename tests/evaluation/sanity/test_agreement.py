"""Agreement between operators: by hand, and on a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import spearmanr

from omnitrace import InputError, NotSupportedError, PluginError, Tracer
from omnitrace.ablation import InputOperator, leave_one_out
from omnitrace.ablation.operators import Attention
from omnitrace.evaluation.sanity import Case, operator_agreement
from omnitrace.evaluation.sanity.agreement import alike_by_group
from omnitrace.sources.parts import Part
from omnitrace.types import Modality, SourceUnit

KINDS: tuple[Modality, ...] = ("text", "text", "text", "image", "image")
EFFECTS = np.array([[3.0, 1.0, 2.0, 5.0, 4.0], [0.0, 0.0, 0.0, 1.0, 2.0]])


class Twin(Attention):
    """The operator "attention" under another name."""

    name = "twin"


class Refuses(InputOperator):
    """Acts on no text that there is."""

    name = "refuses"
    modalities = frozenset({"text"})

    def edit(self, part: Part, gone: Sequence[SourceUnit]) -> Part:
        raise NotSupportedError("this text is sacred")


def test_by_hand() -> None:
    text = np.where(np.array(KINDS) == "text", EFFECTS, np.nan)
    found = dict(
        alike_by_group({"one": EFFECTS, "same": EFFECTS, "back": -EFFECTS, "text": text}, KINDS)
    )
    correlation, top = found["one", "same", "all"]
    assert correlation == pytest.approx([1.0, 1.0])
    assert top.tolist() == [1.0, 1.0]
    correlation, top = found["one", "back", "all"]
    assert correlation == pytest.approx([-1.0, -1.0])
    assert top.tolist() == [0.0, 0.0]
    # The second span does not depend on the text: nothing is ranked, and nothing is the top.
    for group in ("all", "text"):
        correlation, top = found["one", "text", group]
        np.testing.assert_allclose(correlation, [1.0, np.nan])
        np.testing.assert_array_equal(top, [1.0, np.nan])
    assert ("one", "text", "image") not in found
    correlation, _ = found["one", "same", "image"]
    assert correlation == pytest.approx([1.0, 1.0])


def test_on_a_model(reference: Tracer, case: Case) -> None:
    operators = ["attention", Twin(), "drop", "silence", Refuses()]
    found = operator_agreement(reference, [case], operators=operators)
    itself = found.of("attention", "twin")
    assert itself.correlation.value == pytest.approx(1.0)
    assert itself.same_top.value == 1.0
    assert itself.correlation.count == len(case.trace.spans)
    other = found.of("drop", "attention", "text")
    hidden, dropped = (
        reference.effects(
            case.trace,
            leave_one_out(len(case.trace.units)),
            operator=operator,
            messages=case.messages,
        ).drops
        for operator in ("attention", "drop")
    )
    by_hand = [spearmanr(a, b).statistic for a, b in zip(hidden.T, dropped.T, strict=True)]
    assert other.correlation.value == pytest.approx(np.mean(by_hand))
    assert other.same_top.value == np.mean(hidden.argmax(axis=0) == dropped.argmax(axis=0))
    assert not any("silence" in (pair.first, pair.second) for pair in found.pairs)
    assert found.refused == {"refuses": (1, "this text is sacred")}
    with pytest.raises(InputError, match=r"'drop' and 'silence' have no unit in common in 'all'"):
        found.of("drop", "silence")


def test_mistakes(reference: Tracer, case: Case) -> None:
    with pytest.raises(InputError, match=r"the operators are \['drop'\]"):
        operator_agreement(reference, [case], operators=["drop"])
    with pytest.raises(InputError, match="two or more, each once"):
        operator_agreement(reference, [case], operators=["drop", "drop"])
    with pytest.raises(PluginError, match="did you mean 'drop'"):
        operator_agreement(reference, [case], operators=["drop", "dorp"])
