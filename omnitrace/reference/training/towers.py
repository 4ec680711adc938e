"""Teach the towers to say, token by token, what a medium shows there.

A token of an image, a video or a sound should say what a text would: its vector should point where
the words' embeddings point ("circle" and "red", "seven", "low"), and to nothing where nothing is.
Tokens of a video and of a sound say which they are, by one word each: without it the text model
took the circle of an image for that of the video (measured: right in 22 %, at chance).
Through questions alone digits stayed at chance for hundreds of steps (measured), and a tower that
says them only on the average of a field's tokens is of no use to a text model that reads token by
token. The embeddings of words stay as they are; the towers come to them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnitrace.reference.render import item_mask, render_audio, render_image, video_masks
from omnitrace.reference.scenes import (
    Audio,
    Image,
    Video,
    draw_audio,
    draw_image,
    draw_video,
)
from omnitrace.reference.training.tensors import (
    AUDIO_RATE,
    FRAMES_PER_SECOND,
    MERGED,
    hear,
    image_patches,
    mel_features,
    sampled_frames,
    see,
    video_patches,
)
from omnitrace.reference.words import COLOURS, DIGITS, PLACES, SHAPES, TONES

__all__ = ["Vocabulary", "audio_targets", "image_targets", "tower_loss", "video_targets"]

NOTHING: Final = -1
IGNORED: Final = -100
# Shares of a token that an item covers: below the first it is not there, from the second on it is.
_UNSEEN, _SEEN = 0.01, 0.08
_SHARP: Final = 20.0
_CLEAR: Final = 0.25  # cosine from which a word counts as said

# Words that a token can say, one of each list at most.
THINGS: Final = (*SHAPES, *DIGITS)
HUES: Final = tuple(COLOURS)
SOUNDS: Final = (*TONES, *DIGITS)
ROWS: Final = tuple(dict.fromkeys(place.split()[0] for place in PLACES))
COLUMNS: Final = tuple(dict.fromkeys(place.split()[1] for place in PLACES))
VIDEO: Final = ("video",)
SOUND: Final = ("sound",)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Unit vectors of the words of each list ``[words, width]``, and the length of an embedding."""

    things: Tensor
    hues: Tensor
    sounds: Tensor
    rows: Tensor
    columns: Tensor
    video: Tensor
    sound: Tensor
    length: float

    @classmethod
    @torch.no_grad()
    def of(cls, model: Any, tokenizer: Any) -> Vocabulary:
        """Read the words' embeddings; what all of them share is taken out."""
        table = model.get_input_embeddings().weight

        def rows(words: tuple[str, ...]) -> Tensor:
            vectors = table[[tokenizer(f" {word}").input_ids[0] for word in words]]
            return torch.nn.functional.normalize(vectors - table.mean(dim=0), dim=-1).clone()

        return cls(
            things=rows(THINGS),
            hues=rows(HUES),
            sounds=rows(SOUNDS),
            rows=rows(ROWS),
            columns=rows(COLUMNS),
            video=rows(VIDEO),
            sound=rows(SOUND),
            length=float(table.norm(dim=-1).mean()),
        )


@dataclass(frozen=True, slots=True)
class Targets:
    """Index of the word that each token should say, of each list; or NOTHING, or IGNORED."""

    things: NDArray[np.int64]
    hues: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    video: NDArray[np.int64]


def image_targets(image: Image) -> Targets:
    """Say for every token of an image what it shows; its own quarter where it shows nothing."""
    covers = np.zeros((len(image.items) + 1, image.height, image.width), dtype=np.float32)
    for number, item in enumerate(image.items):
        x0, y0, x1, y1 = item.box
        covers[number, y0:y1, x0:x1] = item_mask(item)
    names = [THINGS.index(item.name) for item in image.items]
    hues = [HUES.index(item.colour) for item in image.items]
    places = [PLACES.index(item.place) for item in image.items]
    shares = _per_token(covers)
    found = _winners(shares)
    height, width = shares.shape[1:]
    own = (np.arange(height) * 2 // height)[:, None] * 2 + (np.arange(width) * 2 // width)[None]
    quarter = np.where(found.ravel() >= 0, _take(places, found), own.ravel())
    no_video = np.full(found.size, NOTHING)
    return Targets(_take(names, found), _take(hues, found), quarter // 2, quarter % 2, no_video)


def video_targets(video: Video) -> Targets:
    """Say for every token of a video's pictures what it shows."""
    times = np.arange(round(video.seconds * FRAMES_PER_SECOND)) / FRAMES_PER_SECOND
    masks = video_masks(video, times)
    # Both frames of a token count: what either shows is there.
    both = np.maximum(masks[:, 0::2], masks[:, 1::2])
    found = np.stack([_winners(_per_token(both[:, k])) for k in range(both.shape[1])])
    names = [THINGS.index(seen.shape) for seen in video.appearances]
    hues = [HUES.index(seen.colour) for seen in video.appearances]
    nowhere = np.full(found.size, IGNORED)
    is_video = np.zeros(found.size, dtype=np.int64)
    return Targets(_take(names, found), _take(hues, found), nowhere, nowhere, is_video)


def audio_targets(audio: Audio) -> NDArray[np.int64]:
    """Say for every token of a sound what is heard in the middle of its 40 ms."""
    count = round(audio.seconds * AUDIO_RATE)
    middles = (np.arange(count) + 0.5) / AUDIO_RATE
    said = np.full(count, NOTHING)
    for event in audio.events:
        said[(middles >= event.start) & (middles < event.end)] = SOUNDS.index(event.name)
    return said


def _per_token(covers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average masks ``[items, height, width]`` over each token's pixels."""
    count, height, width = covers.shape
    shape = (count, height // MERGED, MERGED, width // MERGED, MERGED)
    shares: NDArray[np.float32] = covers.reshape(shape).mean(axis=(2, 4))
    return shares


def _winners(shares: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the item that covers most of each token, NOTHING, or IGNORED in between."""
    best = shares.argmax(axis=0)
    most = shares.max(axis=0)
    return np.where(most >= _SEEN, best, np.where(most < _UNSEEN, NOTHING, IGNORED))


def _take(values: list[int], found: NDArray[np.int64]) -> NDArray[np.int64]:
    flat = found.ravel()
    table = np.asarray([*values, 0])
    return np.where(flat >= 0, table[np.maximum(flat, 0)], flat)


def tower_loss(
    model: Any, words: Vocabulary, rng: random.Random, counts: tuple[int, int, int]
) -> tuple[Tensor, dict[str, float]]:
    """Show freshly drawn media to the towers; return the loss and the share of tokens right.

    ``counts`` are the numbers of images, videos and audio parts.
    """
    images = [draw_image(rng.getrandbits(48), crowded=True) for _ in range(counts[0])]
    videos = [draw_video(rng.getrandbits(48)) for _ in range(counts[1])]
    sounds = [draw_audio(rng.getrandbits(48)) for _ in range(counts[2])]
    pictures = [image_patches(render_image(image)) for image in images]
    pictures += [video_patches(sampled_frames(video)) for video in videos]
    seen = torch.cat(see(model, pictures))
    targets = [*map(image_targets, images), *map(video_targets, videos)]
    heard = torch.cat(hear(model, [mel_features(render_audio(s)) for s in sounds]))
    lists = {
        name: np.concatenate([getattr(t, name) for t in targets])
        for name in ("things", "hues", "rows", "columns", "video")
    }
    losses: list[Tensor] = []
    right: dict[str, float] = {}
    for name, wanted in lists.items():
        loss, right[name] = _word_loss(seen, getattr(words, name), wanted)
        losses.append(loss if name in ("things", "hues") else 0.5 * loss)
    loss, right["sounds"] = _word_loss(
        heard, words.sounds, np.concatenate([audio_targets(s) for s in sounds])
    )
    losses.append(loss)
    loss, right["sound"] = _word_loss(heard, words.sound, np.zeros(len(heard), dtype=np.int64))
    losses.append(0.5 * loss)
    for tokens in (seen, heard):
        lengths = tokens.norm(dim=-1)
        losses.append(0.05 * (lengths / words.length).clamp(min=1e-3).log().square().mean())
    return torch.stack(losses).sum(), right


def _word_loss(tokens: Tensor, words: Tensor, wanted: NDArray[np.int64]) -> tuple[Tensor, float]:
    """Return the cross-entropy of the words, "nothing" among them, and the share of words right."""
    kept = torch.from_numpy(np.flatnonzero(wanted != IGNORED))
    target = torch.from_numpy(wanted)[kept]
    cosines = torch.nn.functional.normalize(tokens[kept], dim=-1) @ words.T
    nothing = torch.full((len(kept), 1), _CLEAR)
    logits = _SHARP * torch.cat([cosines, nothing], dim=1)
    target = torch.where(target == NOTHING, len(words), target)
    says = target < len(words)
    # Most tokens show nothing; those that show something weigh as much as all of them.
    losses = torch.nn.functional.cross_entropy(logits, target, reduction="none")
    loss = losses[says].mean() + losses[~says].mean() if (~says).any() else losses.mean()
    return loss, float((logits.argmax(-1) == target)[says].float().mean())
