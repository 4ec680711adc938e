"""Signals that break one promise each, and otherwise score by attention."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from omnitrace.capture.layer_rows import LayerRows
from omnitrace.signals.attention import AttentionMean

Rows = Iterable[LayerRows]


class Negative(AttentionMean):
    name = "negative"

    def score(self, rows: Rows) -> torch.Tensor:
        return super().score(rows) - 0.25


class NotANumber(AttentionMean):
    name = "not-a-number"

    def score(self, rows: Rows) -> torch.Tensor:
        scores = super().score(rows)
        scores[-1, 2] = float("nan")
        return scores


class WrongShape(AttentionMean):
    name = "wrong-shape"

    def score(self, rows: Rows) -> torch.Tensor:
        return super().score(rows)[:, :-1]


class NoTensor(AttentionMean):
    name = "no-tensor"

    def score(self, rows: Rows) -> Any:
        return super().score(rows).tolist()


class HalfPrecision(AttentionMean):
    name = "half-precision"

    def score(self, rows: Rows) -> torch.Tensor:
        return super().score(rows).half()


class SeesAhead(AttentionMean):
    """Scores positions that a token does not see."""

    name = "sees-ahead"

    def score(self, rows: Rows) -> torch.Tensor:
        return super().score(rows) + 1e-3


class NotCausal(AttentionMean):
    """Lets a later token of the block change the scores of an earlier one."""

    name = "not-causal"

    def score(self, rows: Rows) -> torch.Tensor:
        scores = super().score(rows)
        return scores / scores.sum()


class NotDeterministic(AttentionMean):
    """Draws from a random state of its own, so that the model's stays as it is."""

    name = "not-deterministic"

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def score(self, rows: Rows) -> torch.Tensor:
        scores = super().score(rows)
        return scores * torch.rand(1, generator=self.generator)


class DrawsRandomNumbers(AttentionMean):
    """Always scores the same, and takes numbers that sampling would have got."""

    name = "draws-random-numbers"

    def score(self, rows: Rows) -> torch.Tensor:
        torch.rand(3)
        return super().score(rows)


class CountsPositions(AttentionMean):
    """Takes the first column for the first token, which is padding in a batch."""

    name = "counts-positions"

    def score(self, rows: Rows) -> torch.Tensor:
        scores = super().score(rows)
        scores[:, 0] = 0.0
        return scores


class ChangesWeights(AttentionMean):
    name = "changes-weights"

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def score(self, rows: Rows) -> torch.Tensor:
        with torch.no_grad():
            next(self.model.parameters()).view(-1)[0] += 1e-6
        return super().score(rows)


class LeavesAHook(AttentionMean):
    name = "leaves-a-hook"

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def score(self, rows: Rows) -> torch.Tensor:
        self.model.register_forward_hook(lambda module, args, output: None)
        return super().score(rows)


class ChangesTorch(AttentionMean):
    name = "changes-torch"

    def score(self, rows: Rows) -> torch.Tensor:
        torch.use_deterministic_algorithms(True, warn_only=True)
        return super().score(rows)


class Smooths(AttentionMean):
    """Averages over the tokens so far, and so depends on where a block begins."""

    name = "smooths"

    def score(self, rows: Rows) -> torch.Tensor:
        scores = super().score(rows)
        return scores.cumsum(dim=0) / torch.arange(1, len(scores) + 1)[:, None]


class Meddles(AttentionMean):
    """Turns the logits of one step around, and takes its hook away again."""

    name = "meddles"

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def score(self, rows: Rows) -> torch.Tensor:
        scores = super().score(rows)
        if len(scores) == 1:  # a later step is sure to come

            def turn(module: nn.Module, args: Any, output: Any) -> Any:
                handle.remove()
                output.logits = -output.logits
                return output

            if not self.model._forward_hooks:
                handle = self.model.register_forward_hook(turn)
        return scores


class LeavesAMark(AttentionMean):
    """Leaves something on the model where it would take it away only after the next token."""

    name = "leaves-a-mark"

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def score(self, rows: Rows) -> torch.Tensor:
        scores = super().score(rows)
        if len(scores) == 1 and self.model.__dict__.pop("mark", None) is None:
            self.model.__dict__["mark"] = True
        return scores


class Raises(AttentionMean):
    name = "raises"

    def score(self, rows: Rows) -> torch.Tensor:
        raise KeyError("attn")


class NoLayers(AttentionMean):
    name = "no-layers"

    def layers(self, available: Any) -> Any:
        return [99]


class UnknownNeed(AttentionMean):
    name = "unknown-need"
    needs = frozenset({"rows", "gradients"})  # type: ignore[arg-type]


class NoJson(AttentionMean):
    name = "no-json"

    def __init__(self) -> None:
        self.parameters = {"weights": torch.ones(1)}


class GradientsNotAskedFor(AttentionMean):
    name = "gradients-not-asked-for"

    def _of_layer(self, layer: LayerRows) -> torch.Tensor:
        return layer.gradients.mean(dim=0)
