"""The network gives what the released model gives."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from omnitrace.speech.voice import FRAME, VoiceActivity, voice_probabilities

RECORDING = Path(__file__).parent.parent / "data" / "three-utterances.flac"
# Every tenth probability of the released model (silero-vad 6.2.3, silero_vad.jit) on the recording.
EXPECTED = [
    0.011729, 0.005172, 0.999333, 0.999917, 0.999975, 0.999916, 0.999967, 0.001992, 0.003235,
    0.961802, 0.71445, 0.999931, 0.886757, 0.012693, 0.999363, 0.99912, 0.999987, 0.999687,
    0.999961, 0.917118, 0.028415,
]  # fmt: skip


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return soundfile.read(RECORDING, dtype="float32")[0]


def test_it_gives_the_probabilities_of_the_released_model(samples):
    found = voice_probabilities(samples)
    assert found.shape == (-(-len(samples) // FRAME),)
    np.testing.assert_allclose(found[::10], EXPECTED, atol=1e-5)


def test_blocks_and_a_last_frame_that_is_not_full_change_nothing(samples, monkeypatch):
    whole = voice_probabilities(samples)
    monkeypatch.setattr("omnitrace.speech.voice._BLOCK", 7)
    np.testing.assert_allclose(voice_probabilities(samples), whole, atol=1e-6)
    assert voice_probabilities(samples[:1]).shape == (1,)
    assert voice_probabilities(samples[:0]).shape == (0,)


def test_it_leaves_the_number_of_threads_alone(samples):
    before = torch.get_num_threads()
    voice_probabilities(samples[:FRAME])
    assert torch.get_num_threads() == before


@pytest.mark.skipif(
    importlib.util.find_spec("silero_vad") is None,
    reason="silero-vad, the released model to compare with, is not installed",
)
def test_weights_and_outputs_are_those_of_the_released_model(samples):
    spec = importlib.util.find_spec("silero_vad")
    assert spec is not None
    assert spec.origin is not None
    released = torch.jit.load(Path(spec.origin).parent / "data" / "silero_vad.jit")
    theirs = released.state_dict()
    names = {
        "spectrum.weight": "_model.stft.forward_basis_buffer",
        **{
            f"encoder.{layer}.{kind}": f"_model.encoder.{layer}.reparam_conv.{kind}"
            for layer in range(4)
            for kind in ("weight", "bias")
        },
        **{
            f"memory.{kind}_l0": f"_model.decoder.rnn.{kind}"
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        },
        **{f"decision.{kind}": f"_model.decoder.decoder.2.{kind}" for kind in ("weight", "bias")},
    }
    from omnitrace.speech.voice import _network

    ours = _network().state_dict()
    assert set(ours) == set(names) == set(VoiceActivity().state_dict())
    assert all(torch.equal(ours[mine], theirs[their]) for mine, their in names.items())
    frames = torch.from_numpy(samples).split(FRAME)
    with torch.no_grad():
        expected = [
            float(released(torch.nn.functional.pad(each, (0, FRAME - len(each))), 16_000))
            for each in frames
        ]
    np.testing.assert_allclose(voice_probabilities(samples), expected, atol=1e-5)
