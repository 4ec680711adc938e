"""What workers measure of the reference world before the parent asks for it.

Each task asks for what the parent will ask for of one request, in the parent's order, so that the
same masks are measured together and the figures are those of one process, to the last bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from common.examples import Example
from common.methods import metered
from common.scoring import Plan
from common.workers import Task, Workers
from common.world import WorldRequest, asked
from estimator.fits import Chosen, Lesson
from estimator.worlds import Compared, World, judge_example
from omnitrace.estimator import FeatureRecipe, Fitted, fit_weights

__all__ = ["answer", "choose_on", "fill", "fit_side_by_side", "judge_ahead", "learn_from"]

# What is measured is the same for all recipes, and this one's features are read from all there is.
_ANY: FeatureRecipe = FeatureRecipe(mask_gradient=True)


def fill(
    workers: Workers, task: Task, requests: Iterator[WorldRequest], count: int, *, what: str
) -> None:
    """Run a task on requests up to the ``count``-th one that can be judged, and a few more.

    Where none can be, it is left to who asks for them to say so.
    """
    while count > 0:
        some = list(itertools.islice(requests, max(count, workers.processes)))
        good = sum(workers.map(task, some, what=what))
        if not good:
            return
        count -= good


def answer(world: World, request: WorldRequest) -> bool:
    """Say whether the model's response can be judged."""
    return asked(world.data.subject, request) is not None


def learn_from(world: World, request: WorldRequest) -> bool:
    """Answer, and measure what estimators learn from."""
    example = asked(world.data.subject, request)
    if example is None:
        return False
    world.data.learnt(example, _ANY)
    return True


def choose_on(world: World, request: WorldRequest) -> bool:
    """Answer, and measure what chooses and calibrates."""
    example = asked(world.data.subject, request)
    if example is None:
        return False
    world.data.judging(example, _ANY)
    world.data.single_effects(example)
    for method in world.rivals:
        if method.name not in world.in_nats and method.refusal(example) is None:
            metered(method, world.data.subject, example)
    return True


def judge_ahead(
    workers: Workers,
    examples: Sequence[Example],
    chosen: Mapping[str, Chosen],
    plan: Callable[[int], Plan],
) -> None:
    """Measure all that judges on examples."""
    items = [(example.request, chosen, plan(number)) for number, example in enumerate(examples)]
    workers.map(_judge, items, what="measuring what judges")


def fit_side_by_side(workers: Workers, lessons: Iterable[Lesson]) -> list[Fitted]:
    """Fit each lesson in a worker."""
    return workers.map(_fit, list(lessons), what="fitting")


def _fit(world: World, given: Lesson) -> Fitted:
    return fit_weights(*given)


def _judge(world: World, item: tuple[WorldRequest, Mapping[str, Chosen], Plan]) -> None:
    request, chosen, plan = item
    example = world.data.subject.ask(request)
    judge_example(Compared(world, dict(chosen)), example, plan)
    world.data.single_effects(example)
    world.data.judging(example, _ANY)
