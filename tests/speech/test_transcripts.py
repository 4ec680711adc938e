"""Transcripts of every format that users have, and of every kind of damage."""

from __future__ import annotations

import json
import math

import pytest

from omnitrace.errors import InputError
from omnitrace.speech.transcripts import read_transcript
from omnitrace.speech.utterances import Utterance

HELLO = [Utterance(1.0, 2.5, "Hello & good day", "Anna"), Utterance(3.0, 4.0, "Yes.")]

SRT = "1\n00:00:01,000 --> 00:00:02,500\nSPEAKER_01: Hello\n\n2\n00:00:03,000 --> 00:00:04,000\n"
VTT = (
    "WEBVTT\n\n00:01.000 --> 00:02.500 align:start\n<v Anna>Hello &amp; good <b>day</b>\n\n"
    "NOTE none\n\nlast\n00:03.000 --> 00:04.000\nYes.\n"
)


def read(value: object) -> list[Utterance]:
    return read_transcript(value, "the part")


def test_webvtt_keeps_voices_and_loses_tags():
    assert read(VTT.encode()) == HELLO


def test_srt_keeps_lines_and_loses_tags():
    text = "1\r\n00:00:01,000 --> 00:00:02,500\r\n<i>Two</i>\r\n{\\an8}lines\r\n\r\n"
    assert read(text.encode()) == [Utterance(1.0, 2.5, "Two lines")]
    assert read((SRT + "Bye").encode())[0].speaker == "SPEAKER_01"


def test_hours_count():
    assert read(b"1\n01:02:03,500 --> 01:02:04,000\nHello\n") == [
        Utterance(3723.5, 3724.0, "Hello")
    ]


@pytest.mark.parametrize(
    "shape",
    [
        {"text": "…", "segments": [{"id": 0, "start": 1, "end": 2.5, "text": " Hello there"}]},
        [{"start": 1.0, "end": 2.5, "text": "Hello there", "words": [], "avg_logprob": -0.1}],
        {"segments": [{"start": "1.0", "end": "00:02.5", "text": "Hello there"}]},
        {"text": " Hello there", "chunks": [{"timestamp": [1.0, 2.5], "text": " Hello there"}]},
        [
            {"word": "Hello", "start": 1.0, "end": 1.4, "score": 0.9},
            {"word": "there", "start": 1.5, "end": 2.5},
        ],
        {
            "chunks": [
                {"timestamp": (1.0, 1.4), "text": " Hello"},
                {"timestamp": (1.5, 2.5), "text": " there"},
            ]
        },
    ],
    ids=["openai-whisper", "faster-whisper", "clocks", "transformers", "WhisperX words", "words"],
)
def test_json_of_recognisers(shape):
    expected = [Utterance(1.0, 2.5, "Hello there")]
    assert read(shape) == expected
    assert read(json.dumps(shape).encode()) == expected


def test_json_keeps_speakers_and_open_ends():
    shape = {"segments": [{"start": 1, "end": None, "text": "Yes.", "speaker": "SPEAKER_00"}]}
    assert read(shape) == [Utterance(1.0, math.inf, "Yes.", "SPEAKER_00")]


def test_json_lines_are_read():
    lines = b'{"start": 1, "end": 2, "text": "One."}\n{"start": 2, "end": 3, "text": "Two."}\n'
    assert [each.text for each in read(lines)] == ["One.", "Two."]


def test_ctm_words_become_sentences():
    text = b";; a comment\na 1 1.0 0.4 Hello 0.9\na 1 1.5 0.5 there.\na 1 2.1 0.3 Bye\n"
    assert read(text) == [Utterance(1.0, 2.0, "Hello there."), Utterance(2.1, 2.4, "Bye")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(encoding):
    text = "1\n00:00:01,000 --> 00:00:02,000\nCafé, naïve\n"
    assert read(text.encode(encoding)) == [Utterance(1.0, 2.0, "Café, naïve")]


def test_a_file_is_read_from_the_media_root(tmp_path):
    (tmp_path / "call.vtt").write_text(VTT)
    assert read_transcript("call.vtt", "the part", tmp_path) == HELLO


# Each is read, or refused with what is legal; a transcript that says nothing is refused.
CUE = "\n00:00:01,000 --> 00:00:02,000\n"
DAMAGED: list[object] = [
    b"", b" ", b"\xff\xfe", b"\xef\xbb\xbf", b"\x00" * 50, b"WEBVTT", b"WEBVTT\n\n", b"WEBVTTX\n",
    b"-->", b"1\n-->\nHi\n", b"1\n00:00:01,000 -->\nHi\n", b"1\n--> 00:00:01,000\nHi\n",
    b"WEBVTT\n\n00:99.000 --> 00:01.000\nHi\n", b"WEBVTT\n\n99:99:99.999 --> 00:01.000\nHi\n",
    b"WEBVTT\n\n100:00:00.000 --> 100:00:01.000\nHi\n",
    b"WEBVTT\n\n99999999999:00:00.000 --> 1:00.000\nHi\n",
    b"WEBVTT\n\n00:02.000 --> 00:01.000\nHi\n", b"WEBVTT\n\n00:01.000 --> 00:01.000\nHi\n",
    b"WEBVTT\n\n-00:01.000 --> 00:01.000\nHi\n", b"WEBVTT\n\n00:01.000 --> 00:02.000\n\n",
    b"WEBVTT\n\n00:01.000 --> 00:02.000\n<v>\n", b"WEBVTT\n\n00:01.000 --> 00:02.000\n<v Anna\n",
    b"WEBVTT\n\n00:01.000 --> 00:02.000\n&#xffffffff;&bogus;\n",
    b"WEBVTT\n\n00:01.000 --> 00:02.000\n" + b"<b>" * 3000,
    ("1" + CUE + "Hi").encode(), ("1" + CUE + "Hi").encode("utf-16-le"),
    ("1" + CUE + "Hi\n\n" * 3).encode(), ("\n\n\n1" + CUE + "Hi").encode(),
    ("one" + CUE + "Hi").encode(), (CUE + "Hi").encode(), ("1" + CUE + CUE + "Hi").encode(),
    ("1" + CUE + "<script>alert(1)</script>").encode(), ("1" + CUE + "a" * 100_000).encode(),
    ("1" + CUE.replace(",", ".") + "Hi").encode(),
    ("1" + CUE.replace(" --> ", "-->") + "Hi").encode(),
    ("1" + CUE.replace("\n", "\r") + "Hi").encode(), ("1" + CUE + "\u202eHi\u202c").encode(),
    ("1" + CUE + "\x00\x01\x02").encode(), ("1" + CUE + "{\\an8}").encode(),
    b"{", b"[", b"{}", b"[]", b"[1, 2]", b"[[1, 2, 3]]", b"null", b'"a"', b"[" * 5000, b"{]",
    b'[{"start": 1}]', b'[{"text": "Hi"}]', b'[{"start": "x", "end": 2, "text": "Hi"}]',
    b'[{"start": NaN, "end": 2, "text": "Hi"}]', b'[{"start": 1e999, "end": 2, "text": "Hi"}]',
    b'[{"start": 1, "end": 2, "text": 3}]', b'[{"start": true, "end": 2, "text": "Hi"}]',
    b'[{"start": 1, "end": [2], "text": "Hi", "speaker": {"a": 1}}]',
    b'{"segments": {"start": 1}}', b'{"chunks": [{"timestamp": [1], "text": "Hi"}]}',
    b'{"chunks": [{"timestamp": "1-2", "text": "Hi"}]}', b'{"segments": [null, 1, "a"]}',
    b'[{"start": ' + b"9" * 400 + b', "end": 2, "text": "Hi"}]',
    b"a 1 x 0.1 Hi\n", b"a 1 0.1\n", b"hello world\n", b"a 1 1e400 1 Hi\n", b"a 1 0.1 nan Hi\n",
    "no such file.srt", "", "https://example.org/a.srt", 5, 2.5, object(), {}, [], [[]], [5],
    {"segments": []}, [{"start": 1, "end": 2}], [{"start": None, "text": "Hi"}], {"text": "Hi"},
]  # fmt: skip


def test_damaged_transcripts_are_read_or_refused():
    outcomes = {"read": 0, "refused": 0}
    for value in DAMAGED:
        try:
            found = read(value)
        except InputError:
            outcomes["refused"] += 1
        else:
            assert found, value
            assert all(isinstance(each.start, float) for each in found)
            outcomes["read"] += 1
    assert sum(outcomes.values()) >= 60
    assert outcomes["read"] >= 15
    assert outcomes["refused"] >= 30


def test_fifty_thousand_cues_are_read():
    cue = "{0}\n00:{1:02}:{2:02},000 --> 00:{1:02}:{2:02},900\nHi {0}.\n\n"
    text = "".join(cue.format(n, n // 60 % 60, n % 60) for n in range(50_000))
    assert len(read(text.encode())) == 50_000


def test_json_of_too_many_values_is_refused(monkeypatch):
    monkeypatch.setattr("omnitrace._utils.documents.MAX_VALUES", 20)
    cues = [{"start": 1, "end": 2, "text": "Hello."}] * 10
    with pytest.raises(InputError, match="more than 20 values"):
        read(json.dumps(cues).encode())
