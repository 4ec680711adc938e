"""Requests with two documents each, in the words of the reference world."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

from omnitrace.sources.request_files import RequestEntry

_THINGS = ("lamp", "cup", "spoon", "key", "coin")
_NUMBERS = ("two", "three", "five", "seven", "eight", "nine")


def two_documents(number: int) -> list[dict[str, Any]]:
    """Return the messages of a request: two notes of two sentences, and two questions."""
    rng = random.Random(number)
    first, second, third, fourth = rng.sample(_THINGS, 4)
    numbers = itertools.cycle(rng.sample(_NUMBERS, 4))
    notes = [
        f"The {weighed} weighs {next(numbers)} grams. The {bought} costs {next(numbers)} coins."
        for weighed, bought in ((first, second), (third, fourth))
    ]
    asked = f"What does the {first} weigh? What does the {fourth} cost?"
    return [
        {"role": "user", "content": [{"type": "text", "text": text} for text in (*notes, asked)]}
    ]


def entries(count: int) -> list[RequestEntry]:
    """Return requests as a file of them holds them."""
    return [RequestEntry(f"r{n}", two_documents(n), Path()) for n in range(count)]
