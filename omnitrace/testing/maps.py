"""A request as an adapter encodes it, and what its map of tokens must fulfil."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import torch

from omnitrace.capture.parameters import input_device
from omnitrace.errors import ConformanceError
from omnitrace.media import LoadedImage, MediaLimits
from omnitrace.models.base import Encoded, ModelAdapter
from omnitrace.models.detokenize import Detokenizer
from omnitrace.sources.layout import build_layout
from omnitrace.sources.messages import Conversation, read_messages
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import MediaPart, TextPart
from omnitrace.sources.token_map import GridTokens, TextTokens, TimeTokens
from omnitrace.testing.contract import Requirement, requirements
from omnitrace.testing.harness import SEED, settings, untraced
from omnitrace.types import ImageRegion, Layout, TextRange, TimeRange

__all__ = ["MAP_REQUIREMENTS", "NEW_TOKENS", "AdapterRequest"]

NEW_TOKENS: Final = 8
_ENCODES: Final = "encode() takes a request with every modality that the adapter is for"
_SLACK: Final = 1e-6


class AdapterRequest:
    """An adapter, and its results for a request.

    Parameters
    ----------
    adapter:
        With its model, however small and untrained.
    messages:
        The request.
    conversation:
        The same, read, where it holds what messages cannot say; by default they are read.
    """

    def __init__(
        self,
        adapter: ModelAdapter,
        messages: Sequence[Any],
        conversation: Conversation | None = None,
    ) -> None:
        self.adapter = adapter
        self.messages = messages
        self.options = SourceOptions()
        self.conversation = conversation or read_messages(
            messages, options=self.options, limits=MediaLimits()
        )

    @property
    def subject(self) -> str:
        """What the adapter is called in errors."""
        name = getattr(self.adapter, "name", type(self.adapter).__name__)
        return f"the adapter {name!r} ({type(self.adapter).__module__})"

    def encode(self) -> Encoded:
        """Encode the request; raises ConformanceError if the adapter raises anything."""
        try:
            return self.adapter.encode(self.conversation, self.options)
        except Exception as error:  # a plugin may raise anything
            found = f"raised {type(error).__name__}: {error}"
            raise ConformanceError(self.subject, _ENCODES, found) from error

    @functools.cached_property
    def encoded(self) -> Encoded:
        """The request, encoded."""
        return self.encode()

    @property
    def layout(self) -> Layout:
        """The layout of the request."""
        return build_layout(len(self.encoded.prompt_ids), self.encoded.geometry, self.options)

    def text_of(self, part: TextPart | MediaPart) -> str:
        """Return the user's own string of a text part."""
        text: str = self.messages[part.message]["content"][part.part]["text"]
        return text

    def untraced(self, *, sampled: bool) -> tuple[int, ...]:
        """Return the tokens that the model writes untraced."""
        inputs = {**self.encoded.inputs, **self.encoded.generate_options}
        device = input_device(self.adapter.model)
        inputs = {
            name: value.to(device) if isinstance(value, torch.Tensor) else value
            for name, value in inputs.items()
        }
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(SEED)
            return tuple(
                untraced(self.adapter, inputs, **settings(self.adapter, NEW_TOKENS, sampled))
            )


def _encodes(harness: AdapterRequest) -> str | None:
    harness.encode()
    return None


def _one_row(harness: AdapterRequest) -> str | None:
    ids: Any = harness.encoded.inputs.get("input_ids")
    if not isinstance(ids, torch.Tensor) or ids.dim() != 2 or len(ids) != 1:
        return f"gave input_ids of shape {list(getattr(ids, 'shape', []))}"
    if tuple(ids[0].tolist()) != tuple(harness.encoded.prompt_ids):
        return "gave prompt_ids that differ from input_ids"
    for name, value in harness.encoded.inputs.items():
        if not isinstance(value, torch.Tensor):
            return f"gave a {type(value).__name__} as input {name!r}"
        if value.device.type != "cpu":
            return f"put the input {name!r} on {value.device}"
    return None


def _positions_once(harness: AdapterRequest) -> str | None:
    length = len(harness.encoded.prompt_ids)
    seen: Counter[int] = Counter()
    for tokens in harness.encoded.geometry:
        seen.update(tokens.positions)
    for position, times in sorted(seen.items()):
        if not 0 <= position < length:
            return f"mapped position {position} of a prompt of {length} tokens"
        if times > 1:
            return f"mapped position {position} {times} times"
    return None


def _every_part(harness: AdapterRequest) -> str | None:
    mapped = {(t.part.message, t.part.part) for t in harness.encoded.geometry if len(t.positions)}
    for part in harness.conversation.parts:
        if (part.message, part.part) not in mapped:
            kind = "text" if isinstance(part, TextPart) else part.modality
            return f'gave messages[{part.message}]["content"][{part.part}] ({kind}) no tokens'
    return None


def _pairs(harness: AdapterRequest) -> str | None:
    for tokens in harness.encoded.geometry:
        if isinstance(tokens, GridTokens):
            expected = tokens.rows * tokens.columns
        else:
            expected = len(tokens.ranges if isinstance(tokens, TextTokens) else tokens.intervals)
        if len(tokens.positions) != expected:
            kind = type(tokens).__name__
            return f"gave {kind} of {len(tokens.positions)} positions coordinates for {expected}"
    return None


def _units_disjoint(harness: AdapterRequest) -> str | None:
    layout, owner = harness.layout, dict[int, str]()
    if not layout.units:
        return "gave the request no source unit"
    for unit in layout.units:
        if not unit.positions or list(unit.positions) != sorted(set(unit.positions)):
            return f"gave the unit {unit.id!r} the positions {unit.positions}"
        for position in unit.positions:
            if not 0 <= position < layout.prompt_length:
                return f"put the unit {unit.id!r} at {position}, outside the prompt"
            if owner.setdefault(position, unit.id) != unit.id:
                return f"gave position {position} to {owner[position]!r} and to {unit.id!r}"
    return None


def _texts_quoted(harness: AdapterRequest) -> str | None:
    """Every token quotes its piece of the user's string, and no visible character is left out."""
    for tokens in harness.encoded.geometry:
        if not isinstance(tokens, TextTokens):
            continue
        text = harness.text_of(tokens.part)
        missing = {i for i, character in enumerate(text) if not character.isspace()}
        for position, (start, end) in zip(tokens.positions, tokens.ranges, strict=True):
            if not 0 <= start <= end <= len(text):
                return f"gave position {position} the characters {start} to {end} of {len(text)}"
            missing -= set(range(start, end))
            piece = harness.adapter.tokenizer.decode([harness.encoded.prompt_ids[position]])
            quote = text[start:end].strip()
            if "\ufffd" not in piece and quote.casefold() not in piece.casefold():
                return f"gave position {position}, which is {piece!r}, the characters {quote!r}"
        if missing:
            first = min(missing)
            return f"gave no token the character {first} ({text[first]!r}) of {text!r}"
    return _units_quoted(harness)


def _units_quoted(harness: AdapterRequest) -> str | None:
    for unit in harness.layout.units:
        where = unit.locator
        if isinstance(where, TextRange):
            text = harness.messages[where.message]["content"][where.part]["text"]
            quote = text[where.start : where.end]
            if not quote.strip() or not quote.startswith(unit.preview.removesuffix("…")):
                return f"quotes {unit.preview!r} where the user wrote {quote!r}"
    return None


def _media_inside(harness: AdapterRequest) -> str | None:
    parts = {(part.message, part.part): part.media for part in harness.conversation.media()}
    for unit in harness.layout.units:
        where = unit.locator
        medium = parts.get((where.message, where.part))
        if isinstance(where, ImageRegion):
            assert isinstance(medium, LoadedImage)
            x0, y0, x1, y1 = where.box
            if not (0 <= x0 < x1 <= medium.width and 0 <= y0 < y1 <= medium.height):
                size = f"{medium.width} by {medium.height}"
                return f"put the unit {unit.id!r} at {where.box} of an image of {size} pixels"
        elif isinstance(where, TimeRange):
            duration = getattr(medium, "duration", 0.0)
            if not 0 <= where.start < where.end <= duration + _SLACK:
                seconds = f"{where.start:g} to {where.end:g} s"
                return f"put the unit {unit.id!r} at {seconds} of {duration:g} s"
    return _times_ordered(harness)


def _times_ordered(harness: AdapterRequest) -> str | None:
    for tokens in harness.encoded.geometry:
        if isinstance(tokens, TimeTokens):
            for position, (start, end) in zip(tokens.positions, tokens.intervals, strict=True):
                if not 0 <= start <= end <= tokens.duration + _SLACK:
                    return (
                        f"gave position {position} the seconds {start:g} to {end:g} of "
                        f"{tokens.duration:g}"
                    )
    return None


def _encodes_alike(harness: AdapterRequest) -> str | None:
    first, second = harness.encoded, harness.encode()
    for name in first.inputs.keys() | second.inputs.keys():
        if not torch.equal(first.inputs[name], second.inputs[name]):
            return f"gave another {name!r} the second time"
    places = [[tuple(t.positions) for t in each.geometry] for each in (first, second)]
    return None if places[0] == places[1] else "put parts elsewhere the second time"


def _decodes(harness: AdapterRequest) -> str | None:
    tokenizer = harness.adapter.tokenizer
    for part in harness.conversation.parts:
        if isinstance(part, TextPart):
            ids = tokenizer(part.text, add_special_tokens=False)["input_ids"]
            text = tokenizer.decode(ids, skip_special_tokens=True)
            if text.strip() != part.text.strip():
                return f"decodes {part.text!r} to {text!r}"
            detokenizer = Detokenizer(tokenizer)
            pieces = [detokenizer.push(token) for token in ids] + [detokenizer.finish()]
            if "".join(pieces) != text:
                return f"decodes {text!r} token by token to {''.join(pieces)!r}"
    return None


MAP_REQUIREMENTS: Final[tuple[Requirement[AdapterRequest], ...]] = requirements(
    {
        _ENCODES: _encodes,
        "inputs are tensors on the CPU, and prompt_ids the only row of input_ids": _one_row,
        "every prompt position belongs to one part at most": _positions_once,
        "every part of the request has tokens": _every_part,
        "every position has its own coordinates": _pairs,
        "units have positions inside the prompt, ascending, shared with no other": _units_disjoint,
        "text ranges quote the user's own strings": _texts_quoted,
        "regions and seconds lie inside their medium": _media_inside,
        "encode() gives the same twice": _encodes_alike,
        "text survives tokenizing and decoding, whole and token by token": _decodes,
    }
)
