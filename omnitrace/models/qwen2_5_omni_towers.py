"""What the towers of Qwen2.5-Omni make of one medium: the embeddings that its tokens get."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from omnitrace.capture.attention_hooks import model_lock
from omnitrace.capture.parameters import input_device
from omnitrace.errors import ModelError
from omnitrace.models.base import Encoded
from omnitrace.sources.token_map import GridTokens, TimeTokens
from omnitrace.sources.unitizers.user_defined import name_of

__all__ = ["audio_tokens", "tower_features"]


def tower_features(model: Any, encoded: Encoded, tokens: GridTokens | TimeTokens) -> np.ndarray:
    """Run the tower of a medium over it alone.

    Parameters
    ----------
    model:
        The Thinker.
    encoded:
        The request.
    tokens:
        One geometry of it.

    Returns
    -------
    np.ndarray
        float32 ``[tokens, hidden size of the decoder]``.

    Raises
    ------
    ModelError
        If the tower gives what is no number.
    """
    kind = "image" if isinstance(tokens, GridTokens) else tokens.modality
    row = _row(encoded, tokens, kind)
    was_training = model.training
    with model_lock(model), torch.no_grad():
        try:
            model.eval()
            found = (_audio_features if kind == "audio" else _vision_features)(
                model, encoded, row, kind
            )
        finally:
            if was_training:
                model.train()
    features: np.ndarray = found.float().cpu().numpy()
    if not np.isfinite(features).all():
        raise ModelError(
            f"the {kind} tower gives {name_of(tokens.part)} features that are not finite",
            fix="load the model with dtype=torch.float32 or torch.bfloat16",
        )
    return features


def _row(encoded: Encoded, tokens: GridTokens | TimeTokens, kind: str) -> int:
    """Return the medium's row among the inputs, which lie in the order of the geometry."""
    alike = [
        each
        for each in encoded.geometry
        if (isinstance(each, GridTokens) and kind == "image")
        or (isinstance(each, TimeTokens) and kind == each.modality)
    ]
    return next(i for i, each in enumerate(alike) if each is tokens)


def _vision_features(model: Any, encoded: Encoded, row: int, kind: str) -> torch.Tensor:
    inputs = encoded.inputs
    video = kind == "video"
    grids = inputs["video_grid_thw" if video else "image_grid_thw"]
    patches = inputs["pixel_values_videos" if video else "pixel_values"]
    ends = grids.prod(dim=-1).cumsum(dim=0).tolist()
    start = ends[row - 1] if row else 0
    device = input_device(model)
    own, grid = patches[start : ends[row]].to(device), grids[row : row + 1].to(device)
    tower = model.get_video_features if video else model.get_image_features
    merged: torch.Tensor = tower(own, grid).pooler_output[0]
    return merged


def _audio_features(model: Any, encoded: Encoded, row: int, kind: str) -> torch.Tensor:
    inputs, device = encoded.inputs, input_device(model)
    own = inputs["input_features"][row : row + 1].to(device)
    mask = inputs["feature_attention_mask"][row : row + 1].to(device)
    features: torch.Tensor = model.get_audio_features(own, mask).last_hidden_state
    return features


# Mel frames behind one audio token: stride-2 convolution, then average pooling of 2.
FRAMES_PER_TOKEN = 4


def audio_tokens(mel_frames: int) -> int:
    """Return how many tokens ``mel_frames`` become, as the model's audio tower counts them."""
    return max(0, ((mel_frames - 1) // 2 + 1 - 2) // 2 + 1)
