"""Rows of Qwen2.5-Omni over text, image, audio and video equal eager attention's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from omnitrace.reference.training.build import build_model, build_processor
from tests.helpers.attention_rows import assert_same, captured_rows, eager_rows

NEW = 10
USER = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
IMAGE = "<|vision_bos|><|IMAGE|><|vision_eos|>"
AUDIO = "<|audio_bos|><|AUDIO|><|audio_eos|>"
VIDEO = "<|vision_bos|><|VIDEO|><|vision_eos|>"


def model() -> Any:
    found = build_model(build_processor().tokenizer, seed=3).eval()
    with torch.no_grad():
        for parameter in found.get_decoder().parameters():
            if parameter.dim() > 1:
                parameter.mul_(3)  # sharp rows, so that errors would show
    found.generation_config.eos_token_id = None
    return found


def inputs(texts: list[str]) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    media: dict[str, Any] = {
        "images": [rng.integers(0, 255, (112, 112, 3), dtype=np.uint8)],
        "audio": [rng.normal(size=32000).astype(np.float32) * 0.1],
        "videos": [torch.from_numpy(rng.integers(0, 255, (4, 3, 56, 56), dtype=np.uint8))],
        "videos_kwargs": {"fps": 2.0, "do_sample_frames": False},
    }
    processor = build_processor()
    return dict(processor(text=texts, return_tensors="pt", padding=True, **media))


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize("batch", [1, 2])
def test_rows_equal_eager(batch: int, block: int) -> None:
    texts = [USER.format(f"The lamp.{IMAGE}{AUDIO} {VIDEO}What?"), USER.format("The cup weighs?")]
    given = inputs(texts[:batch])
    prompt = given["input_ids"].shape[1]
    if batch == 2:
        assert given["attention_mask"][1, 0] == 0  # left-padded
    ids, rows = captured_rows(model(), given, NEW, block=block)
    eager_ids, expected = eager_rows(model(), given, NEW)
    assert torch.equal(ids, eager_ids)
    assert_same(rows, expected, prompt, 1e-5)


def test_rows_equal_eager_with_sound_in_the_video() -> None:
    given = _with_sound()
    ids, rows = captured_rows(model(), given, NEW, block=4, use_audio_in_video=True)
    eager_ids, expected = eager_rows(model(), given, NEW, use_audio_in_video=True)
    assert torch.equal(ids, eager_ids)
    assert_same(rows, expected, given["input_ids"].shape[1], 1e-5)


def _with_sound() -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    return dict(
        build_processor()(
            text=[USER.format(f"{VIDEO}What?")],
            videos=[torch.from_numpy(rng.integers(0, 255, (8, 3, 56, 56), dtype=np.uint8))],
            videos_kwargs={"fps": 2.0, "do_sample_frames": False},
            audio=[rng.normal(size=64000).astype(np.float32) * 0.1],
            load_audio_from_video=True,
            audio_from_video_indices=[0],
            return_tensors="pt",
        )
    )
