"""Units of audio and video are what is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitrace import Trace
from omnitrace.errors import InputError, SourceWarning
from omnitrace.media import Clip, LoadedAudio, load_audio
from omnitrace.media.limits import DEFAULT_LIMITS
from omnitrace.plugins.registry import registry
from omnitrace.report.view import trace_view
from omnitrace.sources import SourceOptions, Speech, TimeTokens
from omnitrace.sources.layout import build_layout
from omnitrace.sources.messages import Conversation, read_messages
from omnitrace.sources.parts import MediaPart
from omnitrace.sources.unitizers.speech import Transcribed
from omnitrace.sources.unitizers.time import time_units
from omnitrace.speech import Utterance, Word, mended
from omnitrace.trace.citations import quote_of
from omnitrace.types import TimeRange
from tests.helpers.random_geometries import media_part, time_tokens

RECORDING = Path(__file__).parents[2] / "data" / "three-utterances.flac"


@pytest.fixture(scope="module")
def recording() -> LoadedAudio:
    return load_audio(RECORDING)


def tokens(audio: LoadedAudio, **part: object) -> TimeTokens:
    """Return tokens of 40 ms."""
    count = round(audio.duration * 25)
    made = MediaPart(0, 0, "user", "audio", audio, **part)  # type: ignore[arg-type]
    intervals = [(k * 0.04, (k + 1) * 0.04) for k in range(count)]
    return TimeTokens(made, "audio", range(count), intervals, audio.duration)


# Where the three utterances begin and end, as they were put together.
EDGES = [0.0, 0.5, 2.061, 2.861, 3.809, 4.409, 6.029]


def starts(drafts) -> list[float]:
    return [draft.locator.start for draft in drafts]


def test_units_are_speech_and_silence(recording):
    drafts = time_units([tokens(recording)], Speech())
    assert starts(drafts) == pytest.approx(EDGES, abs=0.15)
    held = sorted(position for draft in drafts for position in draft.positions)
    assert held == list(range(len(tokens(recording).positions)))


def test_a_part_of_a_recording_has_the_original_s_seconds(recording):
    unitizer = Speech()
    time_units([tokens(recording)], unitizer)  # what was heard in all of it is another matter
    part = load_audio(RECORDING, clip=Clip(start=2.6))
    own = tokens(part)
    shifted = [(part.start + start, part.start + end) for start, end in own.intervals]
    own = dataclasses.replace(own, intervals=shifted, duration=part.end)
    drafts = time_units([own], unitizer)
    assert starts(drafts)[0] == pytest.approx(2.6)
    assert starts(drafts)[-3:] == pytest.approx(EDGES[-3:], abs=0.15)


def test_a_transcript_has_the_original_s_seconds():
    said = [[0.5, 1.5, "one"], [1.6, 2.5, "two"], [3, 3.9, "three"]]
    part = {
        "type": "audio",
        "audio": np.zeros(64_000, np.float32),
        "transcript": [{"start": a, "end": b, "text": text} for a, b, text in said],
    }
    clip = {"audio_start": 1, "audio_end": 2}
    (found,) = read(message({**part, **clip})).media()
    assert found.transcript == (Utterance(1, 1.5, "one"), Utterance(1.6, 2, "two"))
    (whole,) = read(message(part)).media()
    assert [each.text for each in whole.transcript or ()] == ["one", "two", "three"]


def test_a_recording_without_speech_is_cut_as_by_bins():
    silent = load_audio(np.zeros(32_000, dtype=np.float32))
    assert [d.locator.start for d in time_units([tokens(silent)], Speech())] == [0.0, 1.0]


class Recogniser:
    """Hears what was said in the recording, with edges that are a little off."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.calls = 0

    def words(self, samples: np.ndarray) -> list[Word]:
        self.calls += 1
        return [
            Word(0.7, 1.0, "The"),
            Word(1.0, 2.3, "invoice."),
            Word(2.5, 3.0, "Please"),
            Word(3.0, 3.6, "call."),
            Word(4.6, 5.9, "Thursday."),
        ]


def test_a_recogniser_of_a_plugin_gives_sentences_at_pauses(recording, monkeypatch):
    made: list[Recogniser] = []

    def make(model: str) -> Recogniser:
        made.append(Recogniser(model))
        return made[-1]

    entry = dataclasses.replace(registry().recognisers["transformers"], factory=make)
    monkeypatch.setitem(registry().recognisers, "mine", entry)
    unitizer = SourceOptions(audio="speech:asr=mine:large").time_unitizer("audio")
    assert unitizer.parameters["asr"] == "mine:large"
    for _ in range(2):
        drafts = time_units([tokens(recording)], unitizer)
    assert starts(drafts) == pytest.approx(EDGES, abs=0.15)
    said = [draft.transcript for draft in drafts]
    assert said == [None, "The invoice.", None, "Please call.", None, "Thursday.", None]
    assert [each.model for each in made] == ["large"]
    assert made[0].calls == 1, "the same recording is heard once"


@pytest.mark.parametrize("asr", ["nobody:x", "transformers", "transformers:", "", "tiny"])
def test_unknown_recognisers_are_refused(asr):
    with pytest.raises(InputError, match=r"'faster-whisper:MODEL', 'transformers:MODEL'"):
        Speech(asr=asr)


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        Speech(asr=f"transformers:{tmp_path / 'nowhere'}")


@given(st.data())
def test_units_tile_whatever_is_said(data):
    stream = data.draw(time_tokens())
    times = st.floats(0, stream.duration)
    cues = [
        Utterance(*sorted(data.draw(st.tuples(times, times))), f"w{number}")
        for number in range(data.draw(st.integers(0, 6)))
    ]
    said, _ = mended(cues, stream.duration)
    drafts = time_units([stream], Transcribed(tuple(said)))
    held = [position for draft in drafts for position in draft.positions]
    assert sorted(held) == sorted(stream.positions)
    spoken = " ".join(draft.transcript for draft in drafts if draft.transcript)
    assert sorted(spoken.split()) == sorted(" ".join(each.text for each in said).split())


def test_sound_has_the_words_where_pictures_stand_apart():
    said = (Utterance(0.0, 2.0, "Hello.", "Anna"),)
    part = dataclasses.replace(media_part("video"), transcript=said)
    pictures = TimeTokens(part, "video", [0, 1], [(0, 1), (1, 2)], 2.0)
    sound = TimeTokens(part, "audio", [2, 3], [(0, 1), (1, 2)], 2.0)
    apart = build_layout(4, [pictures, sound], SourceOptions())
    assert [(unit.modality, unit.quote) for unit in apart.units] == [
        ("video", ""),
        ("audio", "Anna: Hello."),
    ]
    joined = build_layout(4, [pictures, sound], SourceOptions(audio_in_video="joined"))
    assert [(unit.modality, unit.quote) for unit in joined.units] == [("video", "Anna: Hello.")]
    alone = build_layout(2, [pictures], SourceOptions())
    assert [unit.quote for unit in alone.units] == ["Anna: Hello."]


def test_units_of_ones_own_get_the_words_too():
    said = (Utterance(0.0, 1.0, "One."), Utterance(1.0, 2.0, "Two."), Utterance(3.0, 4.0, "Three."))
    part = dataclasses.replace(media_part("audio", units=[[0.0, 2.0]]), transcript=said)
    stream = TimeTokens(part, "audio", range(4), [(n, n + 1) for n in range(4)], 4.0)
    units = build_layout(4, [stream], SourceOptions()).units
    assert [unit.transcript for unit in units] == ["One. Two.", "Three."]


def message(part: dict) -> list[dict]:
    return [{"role": "user", "content": [part, {"type": "text", "text": "What is said?"}]}]


def read(messages: list[dict]) -> Conversation:
    return read_messages(messages, options=SourceOptions(), limits=DEFAULT_LIMITS)


def test_a_part_has_a_transcript():
    cues = [{"start": 0.5, "end": 2.0, "text": "The invoice is late.", "speaker": "Anna"}]
    given = message({"type": "audio", "audio": str(RECORDING), "transcript": cues})
    part = read(given).parts[0]
    assert isinstance(part, MediaPart)
    assert part.transcript == (Utterance(0.5, 2.0, "The invoice is late.", "Anna"),)


def test_mends_are_told_and_a_transcript_of_nothing_is_refused():
    late = [{"start": 90, "end": 91, "text": "Bye."}]
    some = [*late, {"start": 1, "end": 2, "text": "Hello."}]
    with pytest.warns(SourceWarning, match="1 cue outside the recording skipped"):
        read(message({"type": "audio", "audio": str(RECORDING), "transcript": some}))
    with pytest.raises(InputError, match=r"seconds from 0 to 6\.5"):
        read(message({"type": "audio", "audio": str(RECORDING), "transcript": late}))


def test_texts_within_units_are_refused_with_the_way_to_say_them():
    units = [{"start": 0.5, "end": 2.0, "text": "The invoice"}]
    part = dataclasses.replace(media_part("audio", units=units))
    stream = TimeTokens(part, "audio", range(4), [(n, n + 1) for n in range(4)], 4.0)
    with pytest.raises(InputError, match="transcript"):
        time_units([stream], Speech())


def test_units_say_what_is_said_and_redacted_ones_do_not(reference, tmp_path):
    cues = [{"start": 0.4, "end": 2.2, "text": "The invoice is late.", "speaker": "Anna"}]
    part = {"type": "audio", "audio": str(RECORDING), "transcript": cues}
    trace = reference.trace(message(part), max_new_tokens=4)
    said = [unit for unit in trace.units if unit.transcript]
    assert [(unit.quote, unit.speaker) for unit in said] == [("Anna: The invoice is late.", "Anna")]
    assert isinstance(said[0].locator, TimeRange)
    again = Trace.load(trace.save(tmp_path / "call.omnitrace"))
    assert again.units == trace.units
    assert [quote_of(again, unit) for unit in said] == ["The invoice is late."]
    assert not any(unit.quote or unit.speaker for unit in trace.redact().units)


def test_the_report_quotes_what_is_said(reference):
    cues = [{"start": 0.4, "end": 2.2, "text": "The invoice is late.", "speaker": "Anna"}]
    part = {"type": "audio", "audio": str(RECORDING), "transcript": cues}
    trace = reference.trace(message(part), max_new_tokens=4)
    quotes = [unit["quote"] for unit in trace_view(trace)["units"]]
    assert [quote for quote in quotes if quote] == ["Anna: The invoice is late."]
