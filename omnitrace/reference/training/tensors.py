"""From samples to model inputs without files and without the slow processor.

The tensors equal those that the official processor makes of the same pixels and sound; a test
holds that. What the towers make of a medium is kept (:class:`Senses`): they are not trained while
the text model learns, so that a medium is looked at once, however often it is asked about.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnitrace.reference.render import render_audio, render_image, video_frames
from omnitrace.reference.scenes import Audio, Image, Note, Video
from omnitrace.reference.world import Sample

__all__ = [
    "FRAMES_PER_SECOND",
    "MERGED",
    "Batch",
    "EncodedSample",
    "Senses",
    "collate",
    "decisions",
    "encode_sample",
    "image_patches",
    "mel_features",
    "prompt_text",
    "sampled_frames",
    "video_patches",
]

PATCH: Final = 14
MERGE: Final = 2
MERGED: Final = PATCH * MERGE  # pixels of a vision token's side
FRAMES_PER_SECOND: Final = 2
MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
STD: Final = (0.26862954, 0.26130258, 0.27577711)
FFT: Final = 400
HOP: Final = 160
PAD_AFTER: Final = FFT  # zeros behind the sound, as the processor's own padding
CHUNK_SECONDS: Final = 2  # of a video with sound: its pictures and its sound take turns
AUDIO_RATE: Final = 25  # tokens a second


@dataclass(frozen=True, slots=True)
class EncodedSample:
    """One sample, ready for the text model.

    ``ids`` and ``weights`` ``[n]``, ``positions`` ``[3, n]`` (time, height, width), ``media``
    ``[m, width]``: what stands, in order, at the ``m`` places of media tokens.
    """

    ids: Tensor
    weights: Tensor
    positions: Tensor
    media: Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one forward pass, right-padded.

    ``ids``, ``weights`` and ``is_media`` ``[rows, n]``, ``positions`` ``[3, rows, n]``, ``media``
    ``[all media tokens, width]`` in the order of rows.
    """

    ids: Tensor
    weights: Tensor
    positions: Tensor
    media: Tensor
    is_media: Tensor


def video_patches(frames: NDArray[np.uint8]) -> tuple[Tensor, tuple[int, int, int]]:
    """Cut an even number of frames ``[frames, height, width, 3]`` into rows of patches.

    Returns the rows and the grid (time, height, width) in patches. Height and width must be
    multiples of 28: nothing is resized here.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
    mean = torch.tensor(MEAN).view(3, 1, 1) * 255.0
    std = torch.tensor(STD).view(3, 1, 1) * 255.0
    pixels = (pixels - mean) / std
    count, _, height, width = pixels.shape
    grid = (count // 2, height // PATCH, width // PATCH)
    rows = pixels.view(
        grid[0], 2, 3, grid[1] // MERGE, MERGE, PATCH, grid[2] // MERGE, MERGE, PATCH
    ).permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return rows.reshape(grid[0] * grid[1] * grid[2], -1), grid


def image_patches(image: NDArray[np.uint8]) -> tuple[Tensor, tuple[int, int, int]]:
    """Cut an image ``[height, width, 3]`` into rows of patches: a video of two equal frames."""
    return video_patches(np.stack([image, image]))


@functools.cache
def _mel_filters() -> Tensor:
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(
        num_frequency_bins=1 + FFT // 2,
        num_mel_filters=128,
        min_frequency=0.0,
        max_frequency=8000.0,
        sampling_rate=16_000,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(filters).float().T.contiguous()


def mel_features(wave: NDArray[np.int16]) -> Tensor:
    """Compute Whisper's log-mel features ``[128, frames]`` of a sound of whole frames."""
    sound = torch.from_numpy(wave.astype(np.float32) / 32768.0)
    padded = torch.nn.functional.pad(sound, (0, PAD_AFTER))
    window = torch.hann_window(FFT)
    spectrum = torch.stft(padded, FFT, HOP, window=window, return_complex=True)
    power = (spectrum.abs() ** 2).contiguous()
    log = torch.clamp(_mel_filters() @ power, min=1e-10).log10()[:, : -(-sound.numel() // HOP)]
    return (torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0


def audio_tokens(mel_frames: int) -> int:
    """Return how many tokens so many frames of log-mel features become."""
    return ((mel_frames - 1) // 2 + 1 - 2) // 2 + 1


def sampled_frames(video: Video) -> NDArray[np.uint8]:
    """Return the frames that the model is shown, two a second."""
    count = round(video.seconds * FRAMES_PER_SECOND)
    return video_frames(video, np.arange(count) / FRAMES_PER_SECOND)


class Senses:
    """What a model's towers make of media, each looked at once and kept.

    Parameters
    ----------
    model:
        The Thinker. Its towers must not change while this is in use.
    keep:
        Keep what was made of media whose seed is below this; the others are made again each time.
    blind:
        Show nothing, only how long each medium is: what can be answered all the same can be
        answered without media.
    """

    def __init__(self, model: Any, keep: int = 0, *, blind: bool = False) -> None:
        self.model = model
        self.keep = keep
        self.blind = blind
        self._kept: dict[tuple[str, int, float], Tensor] = {}

    def image(self, scene: Image) -> Tensor:
        """Return ``[tokens, width]`` of an image."""
        made = lambda: see(self.model, [image_patches(render_image(scene))])  # noqa: E731
        return self._once(("image", scene.seed, 0.0), made)

    def pictures(self, video: Video) -> Tensor:
        """Return ``[tokens, width]`` of a video's pictures."""
        made = lambda: see(self.model, [video_patches(sampled_frames(video))])  # noqa: E731
        return self._once(("video", video.seed, video.seconds), made)

    def sound(self, audio: Audio) -> Tensor:
        """Return ``[tokens, width]`` of an audio part or a video's track."""
        made = lambda: hear(self.model, [mel_features(render_audio(audio))])  # noqa: E731
        return self._once(("sound", audio.seed, audio.seconds), made)

    @torch.no_grad()
    def _once(self, key: tuple[str, int, float], make: Callable[[], list[Tensor]]) -> Tensor:
        found = self._kept.get(key)
        if found is None:
            (found,) = make()
            if self.blind:
                found = torch.zeros_like(found)
            if key[1] < self.keep:
                self._kept[key] = found
        return found


def see(model: Any, pictures: Sequence[tuple[Tensor, tuple[int, int, int]]]) -> list[Tensor]:
    """Run the vision tower over patches and their grids; ``[tokens, width]`` of each."""
    grids = torch.tensor([grid for _, grid in pictures])
    rows = model.get_image_features(torch.cat([patches for patches, _ in pictures]), grids)
    return list(torch.split(_tensor(rows), [len(patches) // MERGE**2 for patches, _ in pictures]))


def hear(model: Any, mels: Sequence[Tensor]) -> list[Tensor]:
    """Run the audio tower over log-mel features ``[128, frames]``; ``[tokens, width]`` of each."""
    longest = max(mel.shape[1] for mel in mels)
    padded = torch.stack([torch.nn.functional.pad(m, (0, longest - m.shape[1])) for m in mels])
    mask = torch.stack([(torch.arange(longest) < m.shape[1]).long() for m in mels])
    rows = _tensor(model.get_audio_features(padded, feature_attention_mask=mask))
    return list(torch.split(rows, [audio_tokens(mel.shape[1]) for mel in mels]))


def _tensor(output: Any) -> Tensor:
    """Take the tokens out of what a tower returns, which differs between the towers."""
    found = getattr(output, "pooler_output", None)
    found = output.last_hidden_state if found is None else found
    return torch.cat(list(found)) if isinstance(found, tuple | list) else found


def prompt_text(
    sample: Sample, lengths: Sequence[int | tuple[int, int, int]], system: str | None = None
) -> str:
    """Write the chat turn with every placeholder repeated as the processor repeats it.

    ``lengths`` has the number of tokens of every part that is no note; of a video with sound its
    seconds, the tokens of a second of pictures, and those of the whole sound.
    """
    turns = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    parts: list[str] = []
    remaining = iter(lengths)
    for scene in sample.scenes:
        if isinstance(scene, Note):
            parts.append(scene.text)
            continue
        length = next(remaining)
        if isinstance(length, tuple):
            turns_taken = "".join(_video_chunks(*length))
            parts.append(f"<|vision_bos|><|audio_bos|>{turns_taken}<|audio_eos|><|vision_eos|>")
        elif isinstance(scene, Audio):
            parts.append(f"<|audio_bos|>{'<|AUDIO|>' * length}<|audio_eos|>")
        else:
            token = "<|IMAGE|>" if isinstance(scene, Image) else "<|VIDEO|>"
            parts.append(f"<|vision_bos|>{token * length}<|vision_eos|>")
    content = "".join(parts) + sample.question
    return f"{turns}<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"


def _video_chunks(seconds: int, pictures: int, sound: int) -> list[str]:
    """Write the turns that a video's pictures and sound take, chunk by chunk, pictures first."""
    chunks: list[str] = []
    for start in range(0, seconds, CHUNK_SECONDS):
        shown = min(CHUNK_SECONDS, seconds - start)
        heard = min(CHUNK_SECONDS * AUDIO_RATE, sound - start * AUDIO_RATE)
        chunks += ["<|VIDEO|>" * (shown * pictures), "<|AUDIO|>" * max(0, heard)]
    return chunks


def encode_sample(
    sample: Sample,
    senses: Senses,
    tokenizer: Any,
    *,
    system: str | None = None,
    value_weight: float = 4.0,
    answers: bool = True,
) -> EncodedSample:
    """Encode a sample for the text model; without ``answers`` only the prompt.

    Weights of the loss are 0 outside the answer, 1 in it, and ``value_weight`` where the value is
    decided: at its word, and at an article before it, which "unknown" does not have.
    """
    lengths: list[int | tuple[int, int, int]] = []
    seen: list[Tensor] = []  # as they stand in the prompt
    heard: list[Tensor] = []
    grids: dict[str, list[tuple[int, int, int]]] = {"image": [], "video": []}
    frames: list[int] = []
    for scene in sample.scenes:
        if isinstance(scene, Image):
            seen.append(senses.image(scene))
            grids["image"].append((1, scene.height // PATCH, scene.width // PATCH))
            lengths.append(len(seen[-1]))
        elif isinstance(scene, Audio):
            heard.append(senses.sound(scene))
            frames.append(round(scene.seconds * 100))
            lengths.append(len(heard[-1]))
        elif isinstance(scene, Video):
            seen.append(senses.pictures(scene))
            steps = round(scene.seconds * FRAMES_PER_SECOND) // 2
            grids["video"].append((steps, scene.height // PATCH, scene.width // PATCH))
            lengths.append(len(seen[-1]))
            if scene.sound is not None:
                heard.append(senses.sound(scene.sound))
                frames.append(round(scene.sound.seconds * 100))
                lengths[-1] = (steps, len(seen[-1]) // steps, len(heard[-1]))
    ids, weights = _text(tokenizer, prompt_text(sample, lengths, system), sample, value_weight)
    if not answers:
        ids = ids[: weights.count(0.0)]
        weights = [0.0] * len(ids)
    row = torch.tensor(ids)
    return EncodedSample(
        row,
        torch.tensor(weights),
        _positions(senses.model, row, grids, frames, any(isinstance(n, tuple) for n in lengths)),
        _in_order(senses.model.config, row, seen, heard),
    )


def _text(
    tokenizer: Any, prompt: str, sample: Sample, value_weight: float
) -> tuple[list[int], list[float]]:
    encode = tokenizer._tokenizer.encode
    ids = list(encode(prompt, add_special_tokens=False).ids)
    weights = [0.0] * len(ids)
    encoding = encode(sample.answer + "<|im_end|>", add_special_tokens=False)
    ids += encoding.ids
    weights += [
        1.0 if decides is None else value_weight for decides in _decides(sample, encoding.offsets)
    ]
    return ids, weights


def _decides(sample: Sample, offsets: Sequence[tuple[int, int]]) -> Iterator[int | None]:
    """Say of each token of the answer which statement's values it decides, if it does.

    It does so in a value word, and as an article before one.
    """
    places: dict[int, int] = {}
    for number, statement in enumerate(sample.statements):
        for value in statement.values:
            places |= dict.fromkeys(range(value.start + 1, value.end + 1), number)
            if sample.answer[: value.start].endswith(" a "):
                places[value.start - 1] = number
    for _, end in offsets:
        yield places.get(end)


def decisions(sample: Sample, tokenizer: Any) -> list[int]:
    """Return how many tokens decide the values of each statement."""
    offsets = tokenizer._tokenizer.encode(sample.answer, add_special_tokens=False).offsets
    found = Counter(_decides(sample, offsets))
    return [found[number] for number in range(len(sample.statements))]


def _positions(
    model: Any,
    ids: Tensor,
    grids: dict[str, list[tuple[int, int, int]]],
    frames: list[int],
    with_sound: bool,
) -> Tensor:
    """Ask the model itself for the positions ``[3, n]`` of its tokens."""
    videos = len(grids["video"])
    positions, _ = model.get_rope_index(
        ids[None],
        torch.tensor(grids["image"]) if grids["image"] else None,
        torch.tensor(grids["video"]) if videos else None,
        torch.ones_like(ids)[None],
        with_sound,
        torch.tensor(frames) if frames else None,
        torch.full((videos,), 2 / FRAMES_PER_SECOND) if videos else None,
    )
    return torch.as_tensor(positions[:, 0]).long()


def _in_order(config: Any, ids: Tensor, seen: list[Tensor], heard: list[Tensor]) -> Tensor:
    """Order the embeddings as in the prompt: in a video, pictures and sound take turns."""
    is_heard = ids == config.audio_token_index
    is_media = is_heard | (ids == config.image_token_index) | (ids == config.video_token_index)
    kinds = is_heard[is_media]
    media = torch.empty((len(kinds), config.text_config.hidden_size))
    if heard:
        media[kinds] = torch.cat(heard)
    if seen:
        media[~kinds] = torch.cat(seen)
    return media


def collate(rows: Sequence[EncodedSample], config: Any) -> Batch:
    """Put rows together, padded on the right."""
    longest = max(len(row.ids) for row in rows)

    def padded(tensors: Sequence[Tensor], value: float) -> Tensor:
        pad = torch.nn.functional.pad
        return torch.stack([pad(t, (0, longest - t.shape[-1]), value=value) for t in tensors])

    ids = padded([row.ids for row in rows], config.text_config.pad_token_id)
    media = (config.audio_token_index, config.image_token_index, config.video_token_index)
    return Batch(
        ids=ids,
        weights=padded([row.weights for row in rows], 0.0),
        positions=padded([row.positions for row in rows], 0).transpose(0, 1),
        media=torch.cat([row.media for row in rows]),
        is_media=torch.isin(ids, torch.tensor(media)),
    )
