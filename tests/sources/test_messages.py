"""Which parts of a request are sources, and what a malformed request is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from omnitrace.errors import InputError, MediaError
from omnitrace.media import LoadedAudio, LoadedImage, LoadedVideo, MediaLimits
from omnitrace.sources.messages import Conversation, read_messages
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import MediaPart, TextPart

IMAGE = {"type": "image", "image": np.zeros((6, 8, 3), np.uint8)}
AUDIO = {"type": "audio", "audio": np.zeros(1600, np.float32)}
VIDEO = {"type": "video", "video": (np.zeros((4, 6, 8, 3), np.uint8), 2.0)}


def read(messages: Any, **options: Any) -> Conversation:
    return read_messages(messages, options=SourceOptions(**options), limits=MediaLimits())


def text(content: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": content, **more}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def sources(messages: Any, **options: Any) -> list[str]:
    """Name the parts that are sources: a text by its content, a medium by its modality."""
    return [
        part.text if isinstance(part, TextPart) else part.modality
        for part in read(messages, **options).parts
        if part.is_source
    ]


def test_media_are_sources_and_the_last_text_is_the_instruction():
    assert sources([user(IMAGE, text("one"), AUDIO, text("two"), VIDEO, text("ask"))]) == [
        "image",
        "one",
        "audio",
        "two",
        "video",
    ]


def test_media_are_sources_in_every_turn_whatever_the_options():
    messages = [
        user(IMAGE, text("old question")),
        {"role": "assistant", "content": "old answer"},
        {"role": "tool", "content": [AUDIO]},
        user(text("ask")),
    ]
    assert sources(messages, history=False) == ["image", "audio"]
    assert sources(messages, history=True) == ["image", "old question", "old answer", "audio"]
    assert sources(messages) == ["image", "old question", "old answer", "audio"]


@pytest.mark.parametrize("content", ["ask", [text("ask")], "What does it weigh?"])
def test_a_question_alone_is_not_its_own_source(content: Any):
    conversation = read([{"role": "user", "content": content}])
    assert not any(part.is_source for part in conversation.parts)
    (note,) = conversation.notes
    assert "nothing in the request can be a source" in note
    assert '"source": true' in note


def cited(messages: Any, **options: Any) -> list[str]:
    """Spell the stretches of texts that can be cited."""
    return [
        part.text[a:b]
        for part in read(messages, **options).parts
        if part.is_source and isinstance(part, TextPart)
        for a, b in part.within or [(0, len(part.text))]
    ]


def test_one_text_is_the_source_without_the_questions_around_it():
    note = "The spoon weighs seven grams. The key weighs eight."
    for asked in (f"{note} What does the key weigh?", f"What does it weigh?\n\n{note}"):
        conversation = read([{"role": "user", "content": asked}])
        assert cited([{"role": "user", "content": asked}]) == [note]
        assert "sources and question in one text" in conversation.notes[0]


def test_documents_in_one_text_are_the_sources_and_the_rest_is_the_instruction():
    asked = "Use these.\n\n[1] The spoon.\n[2] The key.\n\nDescribe them."
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": asked}]
    assert cited(messages) == ["[1] The spoon.", "[2] The key."]
    assert read(messages).notes == ()
    # Beside other sources the last text is the instruction, unless documents are asked for.
    beside = [user(text("doc"), text(asked))]
    assert cited(beside) == ["doc"]
    assert cited(beside, text="documents") == ["doc", "[1] The spoon.", "[2] The key."]


def test_earlier_turns_and_system_texts_are_sources_where_the_question_brings_none():
    system = {"role": "system", "content": "Answer from this.\n<doc>One.</doc>\n<doc>Two.</doc>"}
    earlier = [
        user(text("The spoon weighs seven grams. What is it?")),
        {"role": "assistant", "content": "A"},
    ]
    ask = user(text("What does the spoon weigh?"))
    assert cited([system, ask]) == ["<doc>One.</doc>", "<doc>Two.</doc>"]
    assert cited([*earlier, ask]) == ["The spoon weighs seven grams.", "A"]
    assert cited([system, *earlier, user(text("doc"), text("ask"))]) == ["doc"]
    assert cited([system, *earlier, ask], system=False, history=False) == []
    assert read([system, ask]).notes == ()


def test_what_a_tool_found_after_the_question_belongs_to_its_turn():
    messages = [
        {"role": "system", "content": "Be kind."},
        user(text("What is the weather?")),
        {"role": "tool", "content": "It is 20 degrees."},
    ]
    assert cited(messages) == ["It is 20 degrees."]


def test_a_single_text_beside_a_medium_or_another_source_is_the_instruction():
    assert sources([user(IMAGE, text("ask"))]) == ["image"]
    assert sources([{"role": "tool", "content": "found"}, user(text("ask"))]) == ["found"]
    system = [{"role": "system", "content": "rules"}, user(text("ask"))]
    assert sources(system) == ["rules"]
    assert sources(system, system=False) == []
    assert sources(system, system=True) == ["rules"]


def test_the_instruction_may_stand_before_its_sources():
    # The last text that nothing calls a source, not the last text.
    assert sources([user(text("ask"), text("doc", source_id="d"))]) == ["doc"]
    assert sources([user(text("a"), text("ask"), text("doc", units=[[0, 2]]))]) == ["a", "doc"]


def test_tool_messages_are_sources():
    messages = [
        user(text("old")),
        {"role": "tool", "content": [text("t1"), text("t2")]},
        user(text("ask")),
        {"role": "tool", "content": "t3"},
    ]
    assert sources(messages) == ["t1", "t2", "t3"]


def test_a_source_id_or_units_make_a_text_a_source_anywhere():
    messages = [
        {"role": "system", "content": [text("s", source_id="rules"), text("plain")]},
        {"role": "assistant", "content": [text("a", units=[{"start": 0, "end": 1}])]},
        user(text("ask")),
    ]
    conversation = read(messages)
    assert [part.is_source for part in conversation.parts] == [True, False, True, False]
    assert [part.source_id for part in conversation.parts] == ["rules", None, None, None]
    assert conversation.parts[2].units == ({"start": 0, "end": 1},)


@pytest.mark.parametrize("role", ["system", "developer"])
def test_system_texts_are_sources_if_the_options_say_so(role: str):
    messages = [{"role": role, "content": "rules"}, user(text("one"), text("ask"))]
    assert sources(messages) == ["one"]
    assert sources(messages, history=True) == ["one"]
    assert sources(messages, system=True) == ["rules", "one"]


def test_earlier_turns_are_sources_if_the_options_say_so():
    messages = [
        user(text("q1")),
        {"role": "assistant", "content": "a1"},
        user(text("one"), text("ask")),
    ]
    assert sources(messages) == ["one"]
    assert sources(messages, system=True) == ["one"]
    assert sources(messages, history=True) == ["q1", "a1", "one"]


def test_explicit_true_and_false_settle_it():
    messages = [
        {"role": "system", "content": [text("s", source=True)]},
        {"role": "tool", "content": [text("t", source=False)]},
        user(
            {**IMAGE, "source": False},
            text("one", source=False),
            text("id", source_id="x", source=False),
            text("ask"),
            text("late", source=True),
        ),
    ]
    assert sources(messages) == ["s", "late"]
    assert sources([user(text("ask", source=True))]) == ["ask"]
    assert sources([user(text("ask", source=False))]) == []


def test_texts_are_kept_letter_for_letter_and_media_are_loaded():
    conversation = read([user(IMAGE, AUDIO, VIDEO, text(" é e\u0301\r\n\t🙂 "))])
    image, audio, video = conversation.media()
    assert isinstance(image.media, LoadedImage)
    assert isinstance(audio.media, LoadedAudio)
    assert isinstance(video.media, LoadedVideo)
    assert conversation.parts[3] == TextPart(0, 3, "user", " é e\u0301\r\n\t🙂 ", False)
    assert [part.part for part in conversation.of(0)] == [0, 1, 2, 3]
    assert conversation.media("audio") == [audio]


def test_an_empty_content_list_is_a_message_without_parts():
    conversation = read([{"role": "system", "content": []}, user(text("ask"))])
    assert conversation.roles == ("system", "user")
    assert conversation.of(0) == []


@pytest.mark.parametrize(
    ("part", "modality"),
    [
        ({"type": "image", "path": IMAGE["image"]}, "image"),
        ({"type": "image", "url": IMAGE["image"]}, "image"),
        ({"type": "image_url", "image_url": {"url": IMAGE["image"]}}, "image"),
        ({"type": "input_image", "input_image": IMAGE["image"]}, "image"),
        ({"type": "input_audio", "input_audio": AUDIO["audio"]}, "audio"),
        ({"type": "audio_url", "audio": AUDIO["audio"]}, "audio"),
        ({"type": "video_url", "video_url": {"url": VIDEO["video"]}}, "video"),
    ],
)
def test_the_spellings_of_other_interfaces(part: dict[str, Any], modality: str):
    (read_part,) = read([user(part, text("ask"))]).media()
    assert isinstance(read_part, MediaPart)
    assert read_part.modality == modality


def test_records_hold_every_part_and_number_the_media():
    conversation = read(
        [{"role": "tool", "content": [AUDIO]}, user(IMAGE, text("t", source_id="x"), text("ask"))]
    )
    assert conversation.records() == (
        {"role": "tool", "content": [{"type": "audio", "media": 0}]},
        {
            "role": "user",
            "content": [
                {"type": "image", "media": 1},
                {"type": "text", "text": "t", "source_id": "x"},
                {"type": "text", "text": "ask"},
            ],
        },
    )


MALFORMED: list[tuple[Any, list[str]]] = [
    ([], ["messages is empty", "non-empty list"]),
    ("hello", ["messages is str", "non-empty list"]),
    ({"role": "user", "content": "x"}, ["messages is dict", "non-empty list"]),
    (["hello"], ["messages[0] is str", '{"role": …, "content": …}']),
    ([{"content": "x"}], ["messages[0] has no 'role'", "system, developer, user"]),
    ([{"role": None, "content": "x"}], ["messages[0] has no 'role'"]),
    ([{"role": "humn", "content": "x"}], ["messages[0] has the role 'humn'", "assistant, tool"]),
    ([{"role": ["user"], "content": "x"}], ["messages[0] has the role ['user']"]),
    ([{"role": "user"}], ["messages[0] has content of type NoneType", "a string, or a list"]),
    ([{"role": "user", "content": 3}], ["content of type int", "a string, or a list"]),
    ([{"role": "user", "content": text("x")}], ["content of type dict", "a string, or a list"]),
    ([user("x")], ["content of type list", "a string, or a list"]),
    ([user({"text": "x"})], ["messages[0][\"content\"][0] has no 'type'", "text, image, audio"]),
    (
        [user(text("x"), {"type": "imge", "image": "i.png"})],
        ['messages[0]["content"][1]', "unknown part type 'imge'", "did you mean 'image'?"],
    ),
    ([user({"type": "qqq"})], ["unknown part type 'qqq'", "Legal: text, image, audio, video."]),
    ([user({"type": "text"})], ['messages[0]["content"][0]', "'text' is NoneType", "a string"]),
    ([user({"type": "text", "text": 5})], ["'text' is int", "a string"]),
    ([user({"type": "image"})], ["is of type 'image' but names no file", "key 'image'"]),
    ([user({"type": "audio", "audio": None})], ["is of type 'audio' but names no file"]),
    ([user({"type": "video", "image": "x.png"})], ["is of type 'video' but names no file"]),
    ([user(text("x", units="0-3"))], ["'units' of type str", "a list of ranges"]),
    ([user(text("x", units=7))], ["'units' of type int", "a list of ranges"]),
    ([{"role": "system", "content": "x"}], ["the request has no user message", "'user'"]),
]


@pytest.mark.parametrize(("messages", "said"), MALFORMED)
def test_malformed_messages_are_named(messages: Any, said: list[str]):
    with pytest.raises(InputError) as caught:
        read(messages)
    for words in said:
        assert words in str(caught.value)
    assert caught.value.legal


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
@pytest.mark.parametrize("part", [IMAGE, AUDIO, VIDEO])
def test_media_belong_into_user_and_tool_messages(role: str, part: dict[str, Any]):
    with pytest.raises(InputError) as caught:
        read([{"role": role, "content": [part]}, user(text("ask"))])
    assert f'messages[0]["content"][0] puts {part["type"]}' in str(caught.value)
    assert f"role {role!r}" in str(caught.value)
    assert "'user' or 'tool'" in caught.value.legal


@pytest.mark.parametrize("value", ["false", "yes", 0, 1, []])
def test_source_is_true_or_false(value: Any):
    with pytest.raises(InputError, match=r'\["content"\]\[0\] has the \'source\'') as caught:
        read([user(text("one", source=value), text("ask"))])
    assert "true or false" in caught.value.legal


def test_an_empty_list_of_units_is_refused():
    with pytest.raises(InputError, match="'units' is empty") as caught:
        read([user({**IMAGE, "units": []}, text("ask"))])
    assert "at least one" in caught.value.legal


def test_a_missing_file_is_a_media_error(tmp_path: Any):
    with pytest.raises(MediaError, match="nothing-here"):
        read([user({"type": "image", "image": str(tmp_path / "nothing-here.png")}, text("ask"))])


@pytest.mark.parametrize(
    ("field", "value", "legal"),
    [
        ("text", "word", "'sentence', 'paragraph', 'whole'"),
        ("image", "cells", "'grid', 'slic', 'ward', 'whole'"),
        ("audio", "ward", "'bins', 'changes', 'speech'"),
        ("video", 3, "'bins', 'changes', 'speech', or an object of class TimeUnitizer"),
        ("use_audio_in_video", "yes", "True, False, 'auto'"),
        ("audio_in_video", "both", "'separate', 'joined'"),
        ("audio_bin", 0.0, "a positive number"),
        ("video_bin", float("nan"), "a positive number"),
        ("video_fps", float("inf"), "a positive number"),
        ("image_grid", (0, 3), "(rows, columns)"),
    ],
)
def test_options_are_checked(field: str, value: Any, legal: str):
    with pytest.raises(InputError) as caught:
        SourceOptions(**{field: value})
    assert f"SourceOptions.{field} is {value!r}" in str(caught.value)
    assert legal in caught.value.legal


@pytest.mark.parametrize("given", [[1, 2], {"a": 1}, True, 1.5, "", " ", "\ud800", 2**70, [], {}])
def test_a_source_id_is_a_name(given: Any):
    with pytest.raises(InputError, match=r"\[0\] has the 'source_id'"):
        read([user(text("A lamp.", source_id=given), text("ask"))])
    for legal in ("doc", 7):
        (part, _) = read([user(text("A lamp.", source_id=legal), text("ask"))]).parts
        assert part.source_id == str(legal)


@pytest.mark.parametrize("content", ["", " \n ", [text("")], [text(" "), text("\n")]])
def test_blank_messages_ask_nothing(content: Any):
    with pytest.raises(InputError, match="the user messages are blank"):
        read([{"role": "system", "content": "Be kind."}, {"role": "user", "content": content}])
    assert read([user(IMAGE, text(" "))]).parts
