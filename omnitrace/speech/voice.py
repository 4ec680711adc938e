"""Where somebody speaks: Silero's voice-activity network (MIT licence) in plain torch.

The package `silero-vad` is not used: importing it sets torch to one thread for the whole process.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

__all__ = ["FRAME", "RATE", "VoiceActivity", "voice_probabilities"]

RATE: Final = 16_000
"""Samples a second that the network takes."""
FRAME: Final = 512
"""Samples of a frame (32 ms), each of which gets a probability."""

_CONTEXT = 64  # samples of the frame before, which the network sees too
_WINDOW, _STEP = 256, 128  # of the spectrum, in samples
_BLOCK = 1024  # frames at once: 33 seconds, about 60 MB
_WEIGHTS = Path(__file__).parent / "model" / "silero_vad_16k.safetensors"


class VoiceActivity(nn.Module):
    """The network: a spectrum, four convolutions, one recurrent layer, one decision."""

    def __init__(self) -> None:
        super().__init__()
        self.spectrum = nn.Conv1d(1, _WINDOW + 2, _WINDOW, stride=_STEP, bias=False)
        sizes = [(129, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1)]
        self.encoder = nn.ModuleList(
            nn.Conv1d(inputs, outputs, 3, stride=stride, padding=1)
            for inputs, outputs, stride in sizes
        )
        self.memory = nn.LSTM(128, 128)
        self.decision = nn.Conv1d(128, 1, 1)

    def forward(
        self, frames: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Return the probability of speech of each frame, float ``[frames]``, and the state.

        ``frames`` is float ``[frames, 64 + 512]``: each begins with the end of the one before.
        """
        found = self.spectrum(F.pad(frames, (0, _CONTEXT), mode="reflect").unsqueeze(1))
        real, imaginary = found.chunk(2, dim=1)
        found = (real.square() + imaginary.square()).sqrt()
        for convolution in self.encoder:
            found = convolution(found).relu()
        found, state = self.memory(found.squeeze(-1), state)
        return self.decision(found.relu().unsqueeze(-1)).sigmoid().reshape(-1), state


@functools.cache
def _network() -> VoiceActivity:
    network = VoiceActivity()
    network.load_state_dict(load_file(_WEIGHTS))
    return network.eval().requires_grad_(False)


@torch.inference_mode()
def voice_probabilities(samples: np.ndarray) -> np.ndarray:
    """Return the probability of speech for every 32 ms.

    Parameters
    ----------
    samples:
        Float32 ``[samples]`` at 16 kHz, one channel, in [-1, 1].

    Returns
    -------
    np.ndarray
        Float32 ``[ceil(samples / 512)]`` in [0, 1]; the last frame is filled up with silence.
    """
    count = -(-len(samples) // FRAME)
    padded = F.pad(
        torch.as_tensor(np.asarray(samples, dtype=np.float32)),
        (_CONTEXT, count * FRAME - len(samples)),
    )
    if not count:
        return np.zeros(0, dtype=np.float32)
    frames = padded.unfold(0, _CONTEXT + FRAME, FRAME)
    network, state, found = _network(), None, []
    for first in range(0, count, _BLOCK):
        probabilities, state = network(frames[first : first + _BLOCK], state)
        found.append(probabilities)
    return torch.cat(found).numpy()
