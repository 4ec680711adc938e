"""The doctor on the tiny model of every family: nothing is wrong, and few things are degraded."""

from __future__ import annotations

from typing import Final

import pytest

from omnitrace.testing.doctor import CHECKS, diagnose
from omnitrace.testing.families import TINY, tiny_family
from tests.helpers.text_adapters import text_adapter

# How long a machine with other work takes says nothing; tested on one family.
UNTIMED: Final = [name for name in CHECKS if name not in ("memory", "overhead")]
LIMITED: Final = {
    "qwen3.5": {"layers with rows"},
    "minicpm-v-4.6": {"layers with rows"},
    "minicpm-v-4.7": {"layers with rows"},
}
STATES: Final = {"qwen3.5", "minicpm-v-4.6", "minicpm-v-4.7"}
NO_GRADIENTS: Final = {*STATES, "kimi-k2.5"}  # which caches what its keys are made of
NO_MASK_GRADIENT: Final = {*STATES, "gemma3", "gemma4"}  # these look ahead


# One of each kind, in every run of the suite; all the others by `make families`.
ALWAYS: Final = ("qwen2.5-omni", "internvl", "qwen3.5", "gemma4")


@pytest.mark.parametrize(
    "name",
    [
        name if name in ALWAYS else pytest.param(name, marks=pytest.mark.every_family)
        for name in TINY
    ],
)
def test_every_family(name: str) -> None:
    found = diagnose(tiny_family(name), checks=UNTIMED)
    assert [(line.name, line.evidence) for line in found.of("wrong")] == []
    assert {line.name for line in found.of("degraded")} == LIMITED.get(name, set())
    kinds = {"images": "image", "audio": "audio", "videos": "video"}
    unfit = {f"places in {place}" for place, kind in kinds.items() if kind not in found.modalities}
    unfit |= {"gradients"} if name in NO_GRADIENTS else set()
    unfit |= {"mask-gradient"} if name in NO_MASK_GRADIENT else set()
    assert {line.name for line in found.of("not applicable")} == unfit
    assert all(line.evidence for line in found.lines)


def test_a_text_model() -> None:
    found = diagnose(text_adapter(), level="full", checks=UNTIMED)
    assert [(line.name, line.evidence) for line in found.of("wrong")] == []
    assert found.of("degraded") == ()
    assert [line.name for line in found.of("not applicable")] == [
        "placeholders",
        "places in images",
        "places in audio",
        "places in videos",
    ]
    assert found.family is None
    assert found.modalities == ("text",)


def test_time_and_memory() -> None:
    seen: list[tuple[str, int, int]] = []
    checks = ["memory", "overhead"]
    found = diagnose(
        tiny_family("qwen2-vl"), checks=checks, progress=lambda *step: seen.append(step)
    )
    assert seen == [("memory", 0, 2), ("overhead", 1, 2)]
    assert "ms a token untraced" in found.line("overhead").evidence
    assert "MB traced" in found.line("memory").evidence
    assert [line.name for line in found.lines] == checks
