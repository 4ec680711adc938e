"""Samples of the reference world, drawn when a test first looks, and once for all test modules."""

from __future__ import annotations

import functools

from omnitrace.reference.world import Sample, held_out_seed, make_sample


@functools.cache
def held_out(number: int, **options: bool) -> list[Sample]:
    """Return the first held-out samples; ``options`` are those of ``make_sample``."""
    return [make_sample(held_out_seed(n), **options) for n in range(number)]
