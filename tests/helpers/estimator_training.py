"""Small options and requests to train an estimator with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omnitrace.estimator import CollectOptions, FitOptions, TrainOptions
from omnitrace.sources.request_files import RequestEntry

SMALL = CollectOptions(masks=8, evaluation_masks=8, max_new_tokens=6)
OPTIONS = TrainOptions(collect=SMALL, fit=FitOptions(penalties=(10.0, 100.0)))
THINGS = ("lamp", "cup", "ring", "chair", "door", "book")


def request_of(number: int, *, response: Any = None, sentences: int = 5) -> RequestEntry:
    """Return a request of a few sentences, with a response of two."""
    things = THINGS[number % 6 :] + THINGS[: number % 6]
    note = " ".join(
        f"The {thing} costs {i + 2} coins." for i, thing in enumerate(things[:sentences])
    )
    texts = [note, f"What does the {things[0]} cost?"]
    content = [{"type": "text", "text": text} for text in texts]
    default = f"The {things[0]} costs two coins. The {things[1]} costs three coins."
    given = default if response is None else response
    messages = [{"role": "user", "content": content}]
    return RequestEntry(f"r{number}", messages, Path(), response=given)
