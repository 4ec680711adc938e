"""What is broken on purpose is reported as wrong, on the line that shows it."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any

import pytest
import torch

from omnitrace.capture import value_norms
from omnitrace.capture.attention_hooks import attention_modules
from omnitrace.errors import InputError
from omnitrace.models.base import Encoded
from omnitrace.models.processor import ProcessorAdapter
from omnitrace.sources.token_map import GridTokens, TextTokens, TimeTokens
from omnitrace.testing.doctor import Diagnosis, diagnose
from omnitrace.testing.families import TINY, tiny_family
from tests.helpers.adapted_projection import Adapted


def evidence(found: Diagnosis, *, wrong: set[str]) -> str:
    """Demand that only these lines are wrong; return what the first of them says."""
    lines = found.of("wrong")
    assert {line.name for line in lines} == wrong, lines
    return lines[0].evidence


def test_a_processor_with_another_merge_size() -> None:
    adapter = tiny_family("qwen2.5-vl")
    adapter.processor.image_processor.merge_size = 1
    checks = ["token map", "placeholders", "places in images", "batch and padding"]
    said = evidence(diagnose(adapter, checks=checks), wrong={"placeholders", "places in images"})
    assert said == "image_processor merges 1 x 1 patches into a token, and the model 2 x 2"


class Shifted(ProcessorAdapter):
    """Says of each token of a kind that it is where the next one is."""

    kind: type = TextTokens

    def encode(self, *args: Any) -> Encoded:
        encoded = super().encode(*args)
        moved = [self._moved(tokens) for tokens in encoded.geometry]
        return dataclasses.replace(encoded, geometry=moved)

    def _moved(self, tokens: Any) -> Any:
        if not isinstance(tokens, self.kind):
            return tokens
        if isinstance(tokens, TextTokens):
            first_range, *ranges = tokens.ranges
            return dataclasses.replace(tokens, ranges=[*ranges, first_range])
        first, *rest = tokens.positions
        return dataclasses.replace(tokens, positions=[*rest, first])


@pytest.mark.parametrize(
    ("family", "kind", "line"),
    [
        ("qwen3-vl", TextTokens, "token map"),
        ("qwen3-vl", GridTokens, "places in images"),
        ("idefics3", GridTokens, "places in images"),
        ("qwen2-audio", TimeTokens, "places in audio"),
    ],
)
def test_a_map_that_is_shifted_by_one(family: str, kind: type, line: str) -> None:
    adapter = Shifted(*TINY[family]())
    adapter.kind = kind  # type: ignore[misc]
    checks = ["token map", "placeholders", "places in images", "places in audio"]
    said = evidence(diagnose(adapter, checks=checks), wrong={line})
    assert re.match("the adapter gave position" if kind is TextTokens else "[01] of 24", said)


def test_attention_that_ignores_the_mask() -> None:
    adapter = tiny_family("qwen2.5-vl")
    for module in attention_modules(adapter.decoder):
        own = module.forward

        @functools.wraps(own)
        def unmasked(*args: Any, own: Any = own, **kwargs: Any) -> Any:
            return own(*args, **{**kwargs, "attention_mask": None})

        module.forward = unmasked  # type: ignore[method-assign]
    checks = ["token map", "rows", "attention mask", "batch and padding"]
    found = diagnose(adapter, checks=checks)
    evidence(found, wrong={"rows", "attention mask", "batch and padding"})
    said = found.line("attention mask").evidence
    assert said.startswith("changing 13 masked tokens changes later logits by at most")


def adapted() -> ProcessorAdapter:
    adapter = tiny_family("qwen2.5-vl")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for module in attention_modules(adapter.decoder):
            module.o_proj, module.v_proj = Adapted(module.o_proj), Adapted(module.v_proj)
    return adapter


def test_a_low_rank_delta_counts() -> None:
    checks = ["rows", "value norms", "gradients", "same response"]
    assert evidence_of(diagnose(adapted(), checks=checks)) == []


def evidence_of(found: Diagnosis) -> list[tuple[str, str]]:
    return [(line.name, line.evidence) for line in found.lines if line.status != "supported"]


def test_a_low_rank_delta_that_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_base(projection: Any, weight: torch.Tensor, heads: int, dim: int) -> torch.Tensor:
        return weight.float().t().reshape(heads, dim, -1)

    monkeypatch.setattr(value_norms, "_columns", of_base)
    said = evidence(diagnose(adapted(), checks=["rows", "value norms"]), wrong={"value norms"})
    assert said.startswith("largest relative difference of value norms")


def test_a_check_that_raises_is_wrong_and_not_a_traceback() -> None:
    adapter = tiny_family("qwen2.5-vl")
    adapter.processor.chat_template = "{{ raise_exception('no\\nsuch template') }}"
    found = diagnose(adapter, checks=["token map", "layers with rows"])
    said = evidence(found, wrong={"token map"})
    assert "\n" not in said
    assert "no" in said


@pytest.mark.parametrize(
    "options", [{"level": "thorough"}, {"checks": ["row"]}], ids=["level", "check"]
)
def test_an_unknown_level_or_check(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"thorough|'row'"):
        diagnose(tiny_family("qwen2-vl"), **options)
