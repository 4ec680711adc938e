"""Look whether tokens are where the map says: by what they say, by their number, causally."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any, Final

import torch

from omnitrace._utils.counted import counted
from omnitrace.errors import ConformanceError
from omnitrace.models.families import place_of
from omnitrace.models.forward import decoder_inputs, undisturbed
from omnitrace.models.places.unknown import whole_medium
from omnitrace.sources.token_map import GridTokens, TextTokens
from omnitrace.testing.causal_maps import PROOFS, Found
from omnitrace.testing.doctor.examined import Examined
from omnitrace.testing.doctor.findings import Finding, not_applicable, worst, wrong
from omnitrace.testing.maps import MAP_REQUIREMENTS, AdapterRequest
from omnitrace.types import Modality

__all__ = ["audio_places", "image_places", "placeholders", "token_map", "video_places"]

_EXACT: Final = 0.95
# A tower may mix neighbours, an untrained one does; a map that is shifted is never exact.
_MIXED_EXACT: Final = 1 / 3
_MIXED_NEAR: Final = 0.8
_CASES: Final = {"quick": 24, "full": 200}
_SECONDS: Final = {"quick": 10.0, "full": 60.0}
_TRIED: Final = 4  # by which it is seen how many fit


def token_map(examined: Examined) -> Finding:
    """Hold the map of every request to what a map of tokens must fulfil."""
    texts = characters = media = parts = 0
    for request in examined.large:
        for requirement in MAP_REQUIREMENTS:
            try:
                found = requirement.violation(request)
            except ConformanceError as error:
                found = error.found.removeprefix(f"{request.subject} ")
            if found is not None:
                return wrong(f"the adapter {found}; it must hold that {requirement.contract}")
        for tokens in request.encoded.geometry:
            parts += 1
            if isinstance(tokens, TextTokens):
                texts += len(tokens.positions)
                characters += len(tokens.part.text)
            else:
                media += len(_shown(tokens))
    media_said = f", and {media:,} media tokens lie inside their media" if media else ""
    return Finding(
        "supported",
        f"{texts:,} tokens of text quote all {characters:,} characters of the user's texts"
        f"{media_said}, in {counted(parts, 'part')} of {counted(len(examined.large), 'request')}",
    )


def placeholders(examined: Examined) -> Finding:
    """Compare placeholders with the map, and with what the towers give."""
    if not examined.adapter.media_tokens:
        return not_applicable("the model takes text only")
    return _merging(examined) or worst(
        _placeholders(examined, request) for request in examined.large
    )


def _merging(examined: Examined) -> Finding | None:
    """Say where a processor merges patches otherwise than the model's tower."""
    vision = getattr(examined.model.config, "vision_config", None)
    model = getattr(vision, "spatial_merge_size", None)
    for name in ("image_processor", "video_processor"):
        own = getattr(getattr(examined.adapter.processor, name, None), "merge_size", None)
        if isinstance(own, int) and isinstance(model, int) and own != model:
            return wrong(
                f"{name} merges {own} x {own} patches into a token, and the model {model} x {model}"
            )
    return None


def _placeholders(examined: Examined, request: AdapterRequest) -> Finding:
    encoded = request.encoded
    holders = [
        i for i, each in enumerate(encoded.prompt_ids) if each in examined.adapter.media_tokens
    ]
    mapped = {place for tokens in encoded.geometry for place in _shown(tokens)}
    strays = sorted(mapped - set(holders))
    if strays:
        piece = examined.adapter.tokenizer.decode([encoded.prompt_ids[strays[0]]])
        return wrong(
            f"{len(strays)} tokens that the map gives to media are no placeholders: the first, at "
            f"{strays[0]}, is {piece!r}"
        )
    inputs = examined.placed(encoded.inputs)
    with undisturbed(examined.model):
        fed = decoder_inputs(examined.adapter, inputs, encoded.generate_options).embeddings[0]
    own = [place for place in holders if place in mapped]
    if not bool(torch.isfinite(fed[holders]).all()):
        return wrong("the towers give features that are not finite")
    rest = [place for place in holders if place not in mapped]
    said = f"{len(own):,} of {len(holders):,} placeholders have a place in a medium"
    if not rest:
        return Finding("supported", f"{said}, and the towers fill as many")
    changed = {name: _changed(name, value) for name, value in inputs.items()}
    with undisturbed(examined.model):
        again = decoder_inputs(examined.adapter, changed, encoded.generate_options).embeddings[0]
    showing = int((again[rest] != fed[rest]).any(dim=-1).sum())
    if showing:
        return wrong(
            f"{said}; {showing} of the other {len(rest)} change with the media, so they show "
            "something of a medium"
        )
    return Finding("supported", f"{said}; the other {len(rest)} end rows or pad, and show nothing")


def _changed(name: str, value: torch.Tensor) -> torch.Tensor:
    """Return other pixels and sounds, and anything else as it is."""
    if not value.is_floating_point() or not any(kind in name for kind in ("pixel", "features")):
        return value
    return value.flip(-1) + 1


def _shown(tokens: Any) -> list[int]:
    """Return the positions of media, those of overviews with them."""
    if isinstance(tokens, TextTokens):
        return []
    views = tokens.overviews if isinstance(tokens, GridTokens) else ()
    return [*tokens.positions, *(place for view in views for place in view.positions)]


def image_places(examined: Examined) -> Finding:
    """Paint a cell of an image: its own token must change most."""
    return _places(examined, "image", "painted cells of images")


def audio_places(examined: Examined) -> Finding:
    """Put a click into an audio: the token of its time must change most."""
    return _places(examined, "audio", "clicks in audio")


def video_places(examined: Examined) -> Finding:
    """Repaint a frame of a video: a token of its time must change most."""
    return _places(examined, "video", "repainted frames of videos")


def _places(examined: Examined, kind: Modality, what: str) -> Finding:
    if kind not in examined.modalities:
        return not_applicable(f"the model takes no {kind}")
    if examined.family is None or place_of(examined.adapter.processor, kind) is whole_medium:
        return Finding(
            "degraded",
            f"no rule says where the tokens of {type(examined.adapter.processor).__name__} lie in "
            f"{kind}: each is one source unit",
        )
    return worst(
        _judged(found, examined, said)
        for found, said in zip(
            _proved(examined, kind), (what, f"{what} in overviews of it"), strict=False
        )
        if found.total
    )


def _proved(examined: Examined, kind: Modality) -> Iterator[Found]:
    """Prove as many places as the level asks for, or as fit into its time."""
    started = time.thread_time()
    found = PROOFS[kind](examined.adapter, _TRIED, seed=1)
    fit = round(_SECONDS[examined.level] * _TRIED / (time.thread_time() - started + 1e-6))
    if fit > 2 * _TRIED:
        found = PROOFS[kind](examined.adapter, min(fit, _CASES[examined.level]))
    yield from found if isinstance(found, tuple) else (found,)


def _judged(found: Found, examined: Examined, what: str) -> Finding:
    said = (
        f"{found.exact} of {found.total} {what} changed their own token most, and {found.near} one "
        "at most a step away"
    )
    miss = f": {found.first_miss}" if found.first_miss else ""
    # Of a few cases, two standard deviations less are still no sign of another rate.
    least = _EXACT * found.total
    if examined.level == "quick":
        least -= 2 * math.sqrt(found.total * _EXACT * (1 - _EXACT))
    if found.near == found.total and found.exact >= least:
        return Finding("supported", said)
    if found.near >= _MIXED_NEAR * found.total and found.exact >= _MIXED_EXACT * found.total:
        why = "the tower mixes neighbours, as untrained ones do"
        return Finding("degraded", f"{said}{miss}; {why}")
    return wrong(f"{said}{miss}")
