"""Grad-SAM by hand, and what signals may ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
import torch

from omnitrace import Tracer
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.errors import InputError, PluginError
from omnitrace.plugins.registry import registry
from omnitrace.signals.base import TokenSignal, gradient_target
from omnitrace.signals.gradients import GradSAM, GradSAMLast

ROWS = torch.tensor([[[0.25, 0.75]], [[0.5, 0.5]]])  # [heads, rows, context]
BY = torch.tensor([[[2.0, -4.0]], [[-2.0, 6.0]]])


def layer(index: int, rows: torch.Tensor, by: torch.Tensor | None) -> LayerRows:
    return LayerRows(index, lambda reuse: rows, gradients=None if by is None else lambda: by)


def test_the_formula_by_hand() -> None:
    """Layer 0: heads (0.5, 0) and (0, 3), mean (0.25, 1.5); layer 1 is half of it."""
    layers = [layer(0, ROWS, BY), layer(1, ROWS, BY / 2)]
    assert torch.equal(GradSAM().score(layers), torch.tensor([[0.1875, 1.125]]))
    assert torch.equal(GradSAMLast().score(layers[:1]), torch.tensor([[0.25, 1.5]]))


def test_the_layers_that_are_read() -> None:
    assert list(GradSAM().layers([0, 1, 5])) == [0, 1, 5]
    assert list(GradSAMLast().layers([0, 1, 5])) == [5]


def test_the_target_is_a_need_and_a_parameter() -> None:
    for name in ("grad-sam", "grad-sam-last"):
        made = registry().signal(name).factory
        assert gradient_target(made().needs) == "logit"
        assert gradient_target(made(target="logprob").needs) == "logprob"
        assert made(target="logprob").parameters == {"target": "logprob"}
    with pytest.raises(InputError, match="target is 'loss'"):
        GradSAM("loss")


def test_targets_give_different_scores_and_are_recorded(reference: Tracer) -> None:
    messages = [{"role": "user", "content": "The cup weighs nine grams. What does it weigh?"}]
    traces = [
        Tracer(adapter=reference.adapter, signal=GradSAM(target)).trace(messages, max_new_tokens=3)
        for target in ("logit", "logprob")
    ]
    assert traces[0].token_ids == traces[1].token_ids
    assert (traces[0].scores >= 0).all()
    assert not (traces[0].scores == traces[1].scores).all()
    assert traces[1].provenance.signal["parameters"] == {"target": "logprob"}


def test_the_last_layers_signal_reads_one_layer(reference: Tracer) -> None:
    messages = [{"role": "user", "content": "The cup weighs nine grams. What does it weigh?"}]
    tracer = Tracer(adapter=reference.adapter, signal="grad-sam-last")
    last = reference.adapter.model.config.get_text_config().num_hidden_layers - 1
    assert tracer.trace(messages, max_new_tokens=2).provenance.signal["layers"] == [last]


class Greedy(TokenSignal):
    """Reads what it did not ask for."""

    name = "greedy"

    def __init__(self, what: str) -> None:
        self._what = what

    def layers(self, available: Sequence[int]) -> Sequence[int]:
        return available

    def score(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        return next(getattr(each, self._what) for each in rows)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("what", "need"), [("gradients", "'logit-gradients'"), ("value_norms", "'values'")]
)
def test_what_was_not_asked_for_is_refused(reference: Tracer, what: str, need: str) -> None:
    messages = [{"role": "user", "content": "The cup weighs nine grams."}]
    tracer = Tracer(adapter=reference.adapter, signal=Greedy(what))
    with pytest.raises(PluginError, match=f"add {need}"):
        tracer.trace(messages, max_new_tokens=2)


def test_both_targets_at_once_are_refused() -> None:
    with pytest.raises(PluginError, match="at once"):
        gradient_target({"rows", "logit-gradients", "logprob-gradients"})
    assert gradient_target({"rows", "values"}) is None
