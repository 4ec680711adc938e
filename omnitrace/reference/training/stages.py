"""The stages of training: how long each is, how large its batches, how fast it learns.

Stages, each with a one-cycle learning rate:

*induction*
    Random words written twice. Without it nothing is looked up in a text for thousands of steps.
*towers*, *items*
    The towers alone, against the words' embeddings (:mod:`omnitrace.reference.training.towers`).
    They stay as they are from then on: trained along, they forgot digits before the text model had
    learnt to read them (measured), and what they make of a medium can be kept.
*facts*
    Notes that state both facts of everything. Where half of the things have one, a model learns to
    look up a thing's value, whichever it is, and stays there for thousands of steps; here it leaves
    that within a hundred (measured).
*text*
    Notes alone, of which half of the things have two facts.
*single*
    One modality a sample: in short prompts the model soon learns to find what is asked for.
*steps*, *think*
    Of the model that thinks (``--thinking``) only: questions of several steps about notes, then
    about all modalities, with one batch in seven of *mix*.
*mix*
    All modalities in any order, and drills of what is learnt last.
*end*
    Requests as they will be: any number of questions, three of ten with a medium of a minute, sums
    and comparisons that are asked for alone, and what is not stated.

From *single* on half of the batches are of the aligned world.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

__all__ = ["THOUGHT_OUT", "Stage", "default_stages", "learning_rate"]

#: Stages in which the answers write their steps.
THOUGHT_OUT: Final = ("steps", "think")


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of training with its own lessons and its own one-cycle learning rate.

    ``tokens`` is about the size of a batch of one process; the towers have batches of their own.
    """

    name: str
    steps: int
    tokens: int
    rate: float


_RECIPE: Final = (
    Stage("induction", 1700, 3300, 1e-3),
    Stage("towers", 600, 0, 1.5e-3),
    Stage("items", 850, 0, 2.5e-3),
    Stage("facts", 300, 5000, 2e-3),
    Stage("text", 100, 5000, 1.5e-3),
    Stage("single", 450, 6000, 1.5e-3),
    Stage("mix", 3000, 6000, 1.5e-3),
    Stage("end", 1000, 6500, 1.2e-3),
)
_THINKING: Final = (
    Stage("steps", 300, 3000, 1.5e-3),
    Stage("think", 800, 3500, 1.5e-3),
    Stage("think", 320, 3000, 1.2e-3),
)


def default_stages(scale: float = 1.0, *, thinking: bool = False) -> tuple[Stage, ...]:
    """Return the recipe, its numbers of steps multiplied by ``scale``.

    That of the model that thinks begins where the other one ended.
    """
    return tuple(
        dataclasses.replace(stage, steps=max(1, round(stage.steps * scale)))
        for stage in (_THINKING if thinking else _RECIPE)
    )


def learning_rate(stage: Stage, step: int) -> float:
    """One cycle: a linear rise over the first tenth, then a cosine down to nearly zero."""
    rise = max(1, stage.steps // 10)
    if step < rise:
        return stage.rate * (step + 1) / rise
    done = (step - rise) / max(1, stage.steps - rise)
    return stage.rate * (0.005 + 0.995 * 0.5 * (1.0 + math.cos(math.pi * done)))
