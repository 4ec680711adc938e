"""From samples to model inputs without files and without the slow processor.

The tensors equal those that the official processor makes of the same pixels and sound; a test
holds that. Answers carry weights for the loss: 0 outside the answer, 1 in it, and more on values.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnitrace.reference.render import render_audio, render_image, render_video
from omnitrace.reference.world import Sample

__all__ = ["Batch", "encode_batch", "image_patches", "mel_features", "prompt_text", "video_patches"]

PATCH: Final = 14
MERGE: Final = 2
FRAMES_PER_SECOND: Final = 2
MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
STD: Final = (0.26862954, 0.26130258, 0.27577711)
FFT: Final = 400
HOP: Final = 160
PAD_AFTER: Final = FFT  # zeros behind the sound, as the processor's own padding


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs of one forward pass, right-padded, with ``weights`` for the loss of each token."""

    inputs: dict[str, Tensor]
    weights: Tensor

    def to(self, device: str) -> Batch:
        """Move every tensor to a device."""
        return Batch(
            {name: tensor.to(device) for name, tensor in self.inputs.items()},
            self.weights.to(device),
        )


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
    """Cut an image ``[height, width, 3]`` into rows of patches: a film of two equal frames."""
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


def prompt_text(sample: Sample, lengths: dict[str, int], system: str | None = None) -> str:
    """Write the chat turn with every placeholder repeated as the processor repeats it."""
    turns = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    parts: list[str] = []
    for modality in sample.order:
        if modality == "text":
            parts.append(sample.note.text if sample.note else "")
        elif modality == "audio":
            parts.append(f"<|audio_bos|>{'<|AUDIO|>' * lengths['audio']}<|audio_eos|>")
        else:
            token = "<|IMAGE|>" if modality == "image" else "<|VIDEO|>"
            parts.append(f"<|vision_bos|>{token * lengths[modality]}<|vision_eos|>")
    content = "".join(parts) + sample.question
    return f"{turns}<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"


def encode_batch(
    samples: Sequence[Sample],
    tokenizer: Any,
    *,
    value_weight: float = 4.0,
    systems: Iterable[str | None] | None = None,
    answers: bool = True,
) -> Batch:
    """Encode samples for one forward pass; without ``answers`` only the prompts."""
    pixels: list[Tensor] = []
    image_grids: list[tuple[int, int, int]] = []
    films: list[Tensor] = []
    video_grids: list[tuple[int, int, int]] = []
    sounds: list[Tensor] = []
    rows: list[tuple[list[int], list[float]]] = []
    for sample, system in zip(samples, systems or [None] * len(samples), strict=True):
        lengths: dict[str, int] = {}
        if sample.image is not None:
            patches, grid = image_patches(render_image(sample.image, sample.seed))
            pixels.append(patches)
            image_grids.append(grid)
            lengths["image"] = len(patches) // MERGE**2
        if sample.video is not None:
            frames = render_video(sample.video, sample.seed, fps=FRAMES_PER_SECOND)
            patches, grid = video_patches(frames)
            films.append(patches)
            video_grids.append(grid)
            lengths["video"] = len(patches) // MERGE**2
        if sample.audio is not None:
            sounds.append(mel_features(render_audio(sample.audio, sample.seed)))
            lengths["audio"] = ((sounds[-1].shape[1] - 1) // 2 - 1) // 2 + 1
        prompt = prompt_text(sample, lengths, system)
        rows.append(_encode_text(tokenizer, prompt, sample, value_weight, answers))
    inputs = _pad_text(rows, int(tokenizer.pad_token_id))
    weights = inputs.pop("weights")
    if pixels:
        inputs["pixel_values"] = torch.cat(pixels)
        inputs["image_grid_thw"] = torch.tensor(image_grids)
    if films:
        inputs["pixel_values_videos"] = torch.cat(films)
        inputs["video_grid_thw"] = torch.tensor(video_grids)
        inputs["video_second_per_grid"] = torch.full((len(films),), 2 / FRAMES_PER_SECOND)
    if sounds:
        longest = max(sound.shape[1] for sound in sounds)
        inputs["input_features"] = torch.stack(
            [torch.nn.functional.pad(s, (0, longest - s.shape[1])) for s in sounds]
        )
        inputs["feature_attention_mask"] = torch.stack(
            [(torch.arange(longest) < s.shape[1]).int() for s in sounds]
        )
    return Batch(inputs, weights)


def _encode_text(
    tokenizer: Any, prompt: str, sample: Sample, value_weight: float, answers: bool
) -> tuple[list[int], list[float]]:
    encode = tokenizer._tokenizer.encode
    ids = list(encode(prompt, add_special_tokens=False).ids)
    weights = [0.0] * len(ids)
    if answers:
        encoding = encode(sample.answer + "<|im_end|>", add_special_tokens=False)
        ends = {statement.value_end for statement in sample.statements}
        ids += encoding.ids
        weights += [value_weight if end in ends else 1.0 for _, end in encoding.offsets]
    return ids, weights


def _pad_text(rows: list[tuple[list[int], list[float]]], pad: int) -> dict[str, Tensor]:
    longest = max(len(ids) for ids, _ in rows)
    input_ids = torch.full((len(rows), longest), pad)
    attention_mask = torch.zeros((len(rows), longest), dtype=torch.long)
    weights = torch.zeros((len(rows), longest))
    for number, (ids, row_weights) in enumerate(rows):
        input_ids[number, : len(ids)] = torch.tensor(ids)
        attention_mask[number, : len(ids)] = 1
        weights[number, : len(ids)] = torch.tensor(row_weights)
    return {"input_ids": input_ids, "attention_mask": attention_mask, "weights": weights}
