"""A response in all the forms in which it was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

__all__ = ["GivenResponse", "Response", "ResponseIds", "record_of"]

# Where the token ids of a response come from.
ResponseIds: TypeAlias = Literal["given", "logprobs", "bytes", "text"]


class _Dumped(Protocol):
    """An object of the ``openai`` package, or another pydantic model."""

    def model_dump(self) -> dict[str, Any]: ...


class _Array(Protocol):
    """A numpy array or a tensor."""

    ndim: int

    def tolist(self) -> Any: ...


class _Offline(Protocol):
    """What vLLM's ``LLM.generate`` and ``LLM.chat`` return for each prompt."""

    prompt_token_ids: Any
    outputs: Any


@dataclass(frozen=True, slots=True)
class GivenResponse:
    """A response in all the forms in which it was given.

    Attributes
    ----------
    where:
        What it is called in errors, such as ``response.choices[0]``.
    text:
        The text, without the thoughts where ``thought`` is there; None where only ids were given.
    thought:
        What the server split off as reasoning.
    ids, ids_from, ids_at:
        Token ids; whether they stood as ids (``"given"``) or as ``token_id:N`` in place of the
        tokens' texts (``"logprobs"``); and the field.
    pieces:
        The bytes of each token, of the log-probabilities.
    prompt_ids:
        The token ids of the prompt, as the server had them.
    calls:
        Whether tools are called, in a parsed form.
    finished:
        False where the response was cut off at its longest length.
    """

    where: str
    text: str | None = None
    thought: str | None = None
    ids: tuple[int, ...] | None = None
    ids_from: Literal["given", "logprobs"] = "given"
    ids_at: str = ""
    pieces: tuple[bytes, ...] | None = None
    prompt_ids: tuple[int, ...] | None = None
    calls: bool = False
    finished: bool = True

    def record(self) -> dict[str, Any]:
        """Return what decides the result of a replay, as JSON values."""
        return {
            "text": self.text,
            "thought": self.thought,
            "ids": self.ids and [*self.ids],
            "pieces": self.pieces and [[*piece] for piece in self.pieces],
            "prompt_ids": self.prompt_ids and [*self.prompt_ids],
            "calls": self.calls,
        }


Response: TypeAlias = (
    str | Sequence[int] | Mapping[str, Any] | _Array | _Dumped | _Offline | GivenResponse
)
"""A text, token ids, the object of an API, or what was read of one."""


def record_of(given: str | Sequence[int] | GivenResponse | None) -> Any:
    """Return what decides the result of a replay, as JSON values."""
    if isinstance(given, GivenResponse):
        return given.record()
    return given if isinstance(given, str | None) else [*given]
