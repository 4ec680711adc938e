"""The processor of the tiny MiniCPM-o: what the published one takes and gives, in our own words."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from transformers import WhisperFeatureExtractor

from omnitrace.testing.families.parts import tokenizer

__all__ = ["MiniCPMOImageProcessor", "MiniCPMOProcessor", "words"]

_RATE: Final = 16_000
_WINDOW: Final = 30 * _RATE
_NAMES: Final = {
    "im_start": "<image>",
    "im_end": "</image>",
    "slice_start": "<slice>",
    "slice_end": "</slice>",
    "audio_start": "<|audio_start|>",
    "audio_end": "<|audio_end|>",
    "spk_start": "<|spk_bos|>",
    "spk_end": "<|spk_eos|>",
}
_TEMPLATE: Final = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\\n' }}{% if not enable_thinking %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{% if use_tts_template %}{{ '<|tts_bos|>' }}{% endif %}{% endif %}"
)


def _named(made: Any) -> Any:
    """Give a tokenizer the attributes that the published one has."""
    for name, token in _NAMES.items():
        setattr(made, name, token)
        setattr(made, f"{name}_id", made.convert_tokens_to_ids(token))
    return made


def words() -> Any:
    """Make the tokenizer: one token a byte, and the markers."""
    more = ["<unk>", "<image_id>", "</image_id>", "<|endoftext|>", "<|listen|>", "<|tts_bos|>"]
    made = tokenizer({}, [*_NAMES.values(), *more, "<think>", "</think>"])
    made.chat_template = _TEMPLATE
    return _named(made)


class MiniCPMOImageProcessor:
    """Cuts an image into an overview, which keeps its shape, and slices of a finer one."""

    def __init__(self, max_slice_nums: int, scale_resolution: int, patch_size: int, queries: int):
        self.max_slice_nums = max_slice_nums
        self.scale_resolution = scale_resolution
        self.patch_size = patch_size
        self.image_feature_size = queries
        self.use_image_id = True

    def get_sliced_grid(
        self, image_size: tuple[int, int], max_slice_nums: int
    ) -> tuple[int, int] | None:
        """Return ``(columns, rows)`` of slices that are about square, or None for none."""
        width, height = image_size
        wanted = min(math.ceil(width * height / self.scale_resolution**2), max_slice_nums)
        if wanted <= 1:
            return None
        counts = [n for n in (wanted - 1, wanted, wanted + 1) if 1 < n <= max_slice_nums]
        grids = [(n // rows, rows) for n in counts for rows in range(1, n + 1) if n % rows == 0]
        return min(grids, key=lambda grid: abs(math.log(width / height * grid[1] / grid[0])))

    def get_slice_image_placeholder(
        self,
        image_size: tuple[int, int],
        image_idx: int = 0,
        max_slice_nums: int | None = None,
        use_image_id: bool | None = None,
    ) -> str:
        """Return what stands in the prompt for an image: queries between markers."""
        queries = "<unk>" * self.image_feature_size
        named = self.use_image_id if use_image_id is None else use_image_id
        text = f"<image_id>{image_idx}</image_id>" if named else ""
        text += f"<image>{queries}</image>"
        grid = self.get_sliced_grid(image_size, max_slice_nums or self.max_slice_nums)
        columns, rows = grid or (0, 0)
        return text + "\n".join([f"<slice>{queries}</slice>" * columns] * rows)

    def _fitted(self, width: float, height: float) -> tuple[int, int]:
        """Return a size of the same shape and of the tower's area, in whole patches."""
        ratio, patch = width / height, self.patch_size
        sides = self.scale_resolution * math.sqrt(ratio), self.scale_resolution / math.sqrt(ratio)
        across, down = (max(1, round(side / patch)) * patch for side in sides)
        return across, down

    def cut(self, image: Image.Image, max_slice_nums: int | None) -> list[Image.Image]:
        """Return the overview and the slices, row by row."""
        pieces = [image.resize(self._fitted(*image.size), Image.Resampling.BICUBIC)]
        grid = self.get_sliced_grid(image.size, max_slice_nums or self.max_slice_nums)
        if grid is not None:
            columns, rows = grid
            width, height = self._fitted(image.width / columns, image.height / rows)
            fine = image.resize((width * columns, height * rows), Image.Resampling.BICUBIC)
            pieces += [
                fine.crop((x * width, y * height, (x + 1) * width, (y + 1) * height))
                for y, x in itertools.product(range(rows), range(columns))
            ]
        return pieces

    def patches(self, piece: Image.Image) -> tuple[torch.Tensor, tuple[int, int]]:
        """Return the patches side by side, ``[3, patch, width]``, and their rows and columns."""
        pixels = torch.from_numpy(np.asarray(piece, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)
        patch = self.patch_size
        rows, columns = piece.height // patch, piece.width // patch
        cut = pixels.reshape(3, rows, patch, columns, patch).permute(0, 2, 1, 3, 4)
        return cut.reshape(3, patch, -1), (rows, columns)


class MiniCPMOProcessor:
    """Text with ``<image>./</image>`` and ``<audio>./</audio>`` to what the model takes."""

    def __init__(self, image_processor: Any, audio_processor: Any, tokenizer: Any) -> None:
        self.image_processor = image_processor
        self.audio_processor = audio_processor
        self.tokenizer = tokenizer
        self.pool_step = 5

    @classmethod
    def of(cls, tokenizer: Any, config: Any) -> MiniCPMOProcessor:
        """Make the processor for a tokenizer and the model's configuration."""
        images = MiniCPMOImageProcessor(
            9, 4 * config.patch_size, config.patch_size, config.query_num
        )
        return cls(images, WhisperFeatureExtractor(feature_size=80), tokenizer)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoProcessor") -> None:
        """Do nothing: the class is not saved with the processor."""

    @classmethod
    def from_pretrained(cls, path: str, **kwargs: Any) -> MiniCPMOProcessor:
        """Load the tokenizer; the rest has no settings."""
        from transformers import AutoConfig, AutoTokenizer

        trusted = bool(kwargs.get("trust_remote_code"))
        config = AutoConfig.from_pretrained(path, trust_remote_code=trusted)
        return cls.of(_named(AutoTokenizer.from_pretrained(path)), config)

    def save_pretrained(self, path: str | Path) -> None:
        """Save the tokenizer."""
        self.tokenizer.save_pretrained(path)

    def get_audio_placeholder(
        self, audio_lens: int, chunk_input: bool = True, chunk_length: int = 1
    ) -> str:
        """Return what stands in the prompt for so many samples, in markers, or each chunk in them.

        100 frames of the spectrogram a second become 50 states, five of which are a token.
        """
        count = (math.ceil(audio_lens / 160) - 1) // 2 + 1
        tokens = count // self.pool_step
        most = int(chunk_length * 50) // self.pool_step if chunk_input else max(1, tokens)
        starts = range(0, tokens, most) if chunk_input else [0]
        return "".join(
            "<|audio_start|>" + "<unk>" * min(most, tokens - start) + "<|audio_end|>"
            for start in starts
        )

    def _heard(self, audios: Sequence[np.ndarray]) -> tuple[Any, list[Any]]:
        """Return the spectrograms of pieces of at most 30 s, and their lengths."""
        pieces = [a[at : at + _WINDOW] for a in audios for at in range(0, len(a), _WINDOW)]
        if not pieces:
            return [], [[]]
        found = self.audio_processor(
            pieces,
            sampling_rate=_RATE,
            return_attention_mask=True,
            padding="max_length",
            return_tensors="pt",
        )
        lengths = found["attention_mask"].sum(dim=1)
        return found["input_features"][..., : int(lengths.max())], [lengths]

    def __call__(
        self,
        text: Sequence[str],
        images: Sequence[Sequence[Image.Image]],
        audios: Sequence[Sequence[np.ndarray]],
        *,
        max_slice_nums: int | None = None,
        use_image_id: bool | None = None,
        return_tensors: str = "pt",
    ) -> dict[str, Any]:
        """Return the model's inputs for one prompt."""
        pictures, sounds = iter(enumerate(images[0])), iter(audios[0])

        def written(found: re.Match[str]) -> str:
            if found[1] == "audio":
                return self.get_audio_placeholder(len(next(sounds)), chunk_input=False)
            number, image = next(pictures)
            text: str = self.image_processor.get_slice_image_placeholder(
                image.size, number, max_slice_nums, use_image_id
            )
            return text

        prompt = re.sub(r"<(image|audio)>\./</\1>", written, text[0])
        ids = torch.tensor(self.tokenizer.encode(prompt), dtype=torch.int32)
        cut = [
            self.image_processor.patches(piece)
            for image in images[0]
            for piece in self.image_processor.cut(image, max_slice_nums)
        ]
        features, lengths = self._heard(audios[0])
        return {
            "input_ids": ids[None],
            "attention_mask": torch.ones((1, len(ids)), dtype=torch.bool),
            "pixel_values": [[pixels for pixels, _ in cut]],
            "image_sizes": [[image.size for image in images[0]]],
            "tgt_sizes": [
                torch.tensor([size for _, size in cut], dtype=torch.int32) if cut else []
            ],
            "image_bound": [self._bounds(ids, "im", "slice")],
            "audio_bounds": [self._bounds(ids, "audio")],
            "spk_bounds": [self._bounds(ids, "spk")],
            "audio_features": features,
            "audio_feature_lens": lengths,
        }

    def _bounds(self, ids: torch.Tensor, *names: str) -> torch.Tensor:
        """Return where the tokens between markers begin and end: ``[stretches, 2]``."""

        def at(side: str) -> torch.Tensor:
            wanted = torch.tensor([getattr(self.tokenizer, f"{n}_{side}_id") for n in names])
            return torch.isin(ids, wanted).nonzero()[:, 0]

        return torch.stack([at("start") + 1, at("end")], dim=1)
