"""Requests with the model's responses, and measured log-probabilities of these responses."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch

import omnitrace
from common.cache import Kept, code_digest
from common.report import BenchmarkError
from common.texts import Text
from omnitrace import Span, Trace, Tracer
from omnitrace.ablation import LazyScorer, Operators, measure
from omnitrace.ablation.cache import model_digest
from omnitrace.ablation.input_operators import AT_THE_INPUT
from omnitrace.ablation.scorer import ResponseScorer

if TYPE_CHECKING:
    from common.world import WorldRequest

__all__ = [
    "PACKAGE",
    "AboutText",
    "Example",
    "Grouping",
    "Subject",
    "in_units",
    "load_subject",
    "package_code",
]

#: Says which spans of an example are in which group: by the group's name, bool ``[S]``.
Grouping: TypeAlias = "Callable[[Example], Mapping[str, np.ndarray]]"

PACKAGE = Path(omnitrace.__file__).parent
_COMBINED: Mapping[str, Operators] = {"input": AT_THE_INPUT}


@functools.cache
def package_code() -> str:
    """Return the digest of the library as it was when the run began."""
    return code_digest(PACKAGE)


@runtime_checkable
class AboutText(Protocol):
    """A request about one text or several, and nothing else."""

    @property
    def id(self) -> str:
        """Its name."""
        ...

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The whole request."""
        ...

    @property
    def system(self) -> str | None:
        """The system message, if there is one."""
        ...

    @property
    def parts(self) -> tuple[str, ...]:
        """The texts; the prompt has an empty line between two of them."""
        ...

    @property
    def instruction(self) -> str:
        """What follows them."""
        ...


@dataclass(frozen=True, eq=False)
class Example:
    """A request, the model's response to it, and what the response consists of.

    ``spans`` are the sentences of the response that have a token.
    """

    request: AboutText | WorldRequest
    trace: Trace

    @property
    def name(self) -> str:
        """The request's id."""
        return self.request.id

    @property
    def about(self) -> AboutText:
        """The request, where it is about text alone."""
        assert isinstance(self.request, AboutText)
        return self.request

    @property
    def text(self) -> str:
        """The texts of the request as they stand in the prompt."""
        return "\n\n".join(self.about.parts)

    @functools.cached_property
    def spans(self) -> tuple[Span, ...]:
        """The sentences of the response."""
        return tuple(span for span in self.trace.spans if span.token_end > span.token_start)

    @property
    def span_tokens(self) -> np.ndarray:
        """int64 ``[S]``: tokens of each span."""
        return np.array([s.token_end - s.token_start for s in self.spans], dtype=np.int64)

    @property
    def sizes(self) -> np.ndarray:
        """int64 ``[K]``: tokens of each unit."""
        return np.array([len(unit.positions) for unit in self.trace.units], dtype=np.int64)

    @property
    def tokens(self) -> int:
        """Tokens of prompt and response."""
        return len(self.trace.prompt_ids) + len(self.trace.token_ids)

    @property
    def sentences(self) -> list[tuple[int, int]]:
        """Characters of each unit in :attr:`text`."""
        places = [unit.locator for unit in self.trace.units]
        lengths = [len(part) + len("\n\n") for part in self.about.parts]
        begins = [sum(lengths[: place.part]) for place in places]
        return [
            (begin + place.start, begin + place.end)  # type: ignore[union-attr]
            for begin, place in zip(begins, places, strict=True)
        ]

    def joined(self, kept: Iterable[int]) -> str:
        """Return the text of some sentences, with what stands before each but the first."""
        text, ranges = self.text, self.sentences
        parts = [text[(ranges[i - 1][1] if i else 0) : ranges[i][1]] for i in kept]
        return "".join(parts).lstrip()

    @functools.cached_property
    def fed(self) -> dict[str, Any]:
        """What the model is fed, and which positions carry which unit."""
        said: dict[str, Any] = {
            "prompt": list(self.trace.prompt_ids),
            "response": list(self.trace.token_ids),
            "units": [list(unit.positions) for unit in self.trace.units],
        }
        if self.trace.media:  # their tokens say nothing of what is in them, nor how it was encoded
            said |= {"media": [each.sha256 for each in self.trace.media], "code": package_code()}
        return said

    @functools.cached_property
    def key(self) -> dict[str, Any]:
        """What a score of this example's units for its spans depends on."""
        return self.fed | {"spans": [[span.token_start, span.token_end] for span in self.spans]}

    def summed(self, values: np.ndarray) -> np.ndarray:
        """Sum values of tokens, ``[T, …]``, over those of each span, ``[S, …]``."""
        sums = [values[span.token_start : span.token_end].sum(axis=0) for span in self.spans]
        return np.stack(sums)


class Subject:
    """The model that is explained, and what is kept of it.

    Parameters
    ----------
    tracer:
        Holds the model.
    kept:
        Where answers and measured log-probabilities are kept.
    new_tokens:
        Longest answer.
    """

    def __init__(self, tracer: Tracer, kept: Kept, new_tokens: int) -> None:
        self.tracer = tracer
        self.kept = kept
        self.new_tokens = new_tokens
        self.digest = model_digest(tracer.adapter.model)
        self.forwards = 0  # rows that were run to measure log-probabilities

    def ask(self, request: Text | WorldRequest) -> Example:
        """Let the model answer greedily, or find its response, which may be empty."""
        key = {
            "model": self.digest,
            "request": {"messages": request.messages} if isinstance(request, Text) else request.key,
            "new_tokens": self.new_tokens,
            "code": package_code(),
        }
        path = self.kept.path("answers", key, ".omnitrace")
        if path.is_file():
            return Example(request, Trace.load(path))
        trace = self.tracer.trace(request.messages, max_new_tokens=self.new_tokens)
        trace.save(path)
        return Example(request, trace)

    def answer(self, text: Text) -> Example:
        """Return what :meth:`ask` does about a document.

        Raises
        ------
        BenchmarkError
            If the model says nothing.
        """
        example = self.ask(text)
        if not example.spans:
            raise BenchmarkError(f"the model says nothing about {text.id!r}")
        return example

    def scorer(self, example: Example) -> ResponseScorer:
        """Return what teacher-forces the response; making it costs two forward passes."""
        return self.tracer.scorer(example.request.messages, list(example.trace.token_ids))

    def measure(self, example: Example, masks: np.ndarray, operator: str) -> np.ndarray:
        """Return ``f`` of every span under keep-masks, float64 ``[m, S]`` in nats.

        The operator is a registered one, or ``"input"`` for those on the input of each modality.
        Masks that were ever measured are found; without a new one the model does not run.
        """
        lazy = LazyScorer(
            lambda: self.scorer(example),
            example.trace.units,
            example.trace.token_ids,
            {"model": self.digest} | example.fed,
            str(self.tracer.adapter.source),
        )
        found = measure(
            lazy,
            example.spans,
            masks,
            operator=_COMBINED.get(operator, operator),
            cache=self.kept.folder / "logprobs",
        )
        self.forwards += found.rows
        return found.span_logprobs


def load_subject(source: str, given: argparse.Namespace, cache: Path | None = None) -> Subject:
    """Load a model, to run on ``given.threads``.

    Parameters
    ----------
    source:
        A name or folder, as for :meth:`omnitrace.Tracer.from_pretrained`.
    given:
        The benchmark's arguments: ``threads``, ``new_tokens`` and ``cache``.
    cache:
        Another folder than ``given.cache``.
    """
    torch.set_num_threads(given.threads)
    kept = Kept(given.cache if cache is None else cache)
    return Subject(Tracer.from_pretrained(source, verify=False), kept, given.new_tokens)


def in_units(example: Example, values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Sum values of prompt tokens, ``[…, N]``, over those of each unit, ``[…, K]``."""
    array = np.asarray(values, dtype=np.float64)
    return np.stack(
        [array[..., list(unit.positions)].sum(axis=-1) for unit in example.trace.units], axis=-1
    )
