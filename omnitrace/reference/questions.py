"""What can be asked about the parts of a request, and what evidence the right answer has.

A *reference* asks for one value of the request and says it: its words in a question ("what does
the spoon weigh"), its words in an answer ("the spoon weighs"), the value, if the request states it,
and where. Questions and answers are made of references alone::

    one    "ASKED?"                               "SAID VALUE."
    sum    "ASKED, ASKED, and what do they make?"  "SAID VALUE and SAID VALUE, together NUMBER."
    agree  "ASKED, ASKED, and are they the same?"  "SAID VALUE and SAID VALUE, so they are equal."

An answer to the last says "equal" or "different". A value that the request does not state is
"unknown". A reference never has two values: what is asked for by place or by second needs the
request to have one image, audio or video, and what is asked for by a colour, a sound or a shape
needs it to be the only one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, TypeVar

from omnitrace.evaluation.labels.schema import ImageSource, Source, TextSource, TimeSource
from omnitrace.reference.render import item_boxes
from omnitrace.reference.scenes import Appearance, Audio, Image, ImageItem, Note, SoundEvent, Video
from omnitrace.reference.words import (
    ATTRIBUTES,
    COLOURS,
    OBJECTS,
    PLACES,
    SECONDS,
    SHAPES,
    TONES,
)

__all__ = ["LEADS", "Category", "Reference", "Scene", "Sort", "references"]

Category: TypeAlias = Literal[
    "text-weight",
    "text-price",
    "image-shape",
    "image-colour",
    "image-digit",
    "audio-tone",
    "audio-digit",
    "audio-after",
    "video-second",
    "video-object",
    "video-turn",
    "video-digit",
    "two-sum",
    "two-agree",
    "refusal",
]
"""What can be asked in one step."""
Sort: TypeAlias = Literal["number", "colour", "shape", "tone"]
Scene: TypeAlias = Note | Image | Audio | Video
SceneT = TypeVar("SceneT", Note, Image, Audio, Video)

#: Words behind which an answer says a value.
LEADS: Final = ("is", "are", "weighs", "costs", "turns", "together")

# An event is "in a second" if most of it is, and no other event has more than a bit of it there.
_MOST: Final = 0.6
_BIT: Final = 0.2
_AT_ONCE: Final = 0.7  # seconds between a sound and the number that comes after it


@dataclass(frozen=True, slots=True)
class Reference:
    """What asks for one value; ``value`` is ``None`` where the request does not state it.

    ``part`` is the index of the part that it is about, ``article`` and ``unit`` stand before and
    behind the value in an answer.
    """

    category: Category
    asked: str
    said: str
    sort: Sort
    part: int
    value: str | None = None
    sources: tuple[Source, ...] = ()
    article: str = ""
    unit: str = ""


def references(scenes: Sequence[Scene], *, aligned: bool = False) -> list[Reference]:
    """List all references to the parts of a message, with a value or without, in a fixed order.

    With ``aligned``, the colour of a second is asked for only where its neighbours show another.
    """
    found: list[Reference] = []
    for kind in (_notes, _images, _audios):
        found += kind(scenes)
    return [*found, *_videos(scenes, aligned)]


def _of(scenes: Sequence[Scene], kind: type[SceneT]) -> list[tuple[int, SceneT]]:
    return [(part, scene) for part, scene in enumerate(scenes) if isinstance(scene, kind)]


def _notes(scenes: Sequence[Scene]) -> Iterator[Reference]:
    notes = _of(scenes, Note)
    if not notes:
        return
    stated = Counter((fact.name, fact.attribute) for _, note in notes for fact in note.facts)
    for part, note in notes:
        for fact in note.facts:
            if stated[fact.name, fact.attribute] == 1:
                source = TextSource(message=0, part=part, start=fact.start, end=fact.end)
                yield _fact(part, fact.name, fact.attribute, fact.value, (source,))
    for name in OBJECTS:
        for attribute in ATTRIBUTES:
            if not stated[name, attribute]:
                yield _fact(notes[0][0], name, attribute)


def _fact(
    part: int, name: str, attribute: str, value: str | None = None, sources: tuple[Source, ...] = ()
) -> Reference:
    verb, unit = ATTRIBUTES[attribute]
    return Reference(
        "text-weight" if attribute == "weight" else "text-price",
        f"what does the {name} {verb.removesuffix('s')}",
        f"the {name} {verb}",
        "number",
        part,
        value,
        sources,
        unit=f" {unit}",
    )


def _noun(
    category: Category,
    phrase: str,
    sort: Sort,
    part: int,
    value: str | None = None,
    sources: tuple[Source, ...] = (),
    article: str = "",
) -> Reference:
    """Ask for what a phrase names: "what is the digit in red", "the digit in red is"."""
    asked, said = f"what is {phrase}", f"{phrase} is"
    return Reference(category, asked, said, sort, part, value, sources, article)


def _images(scenes: Sequence[Scene]) -> Iterator[Reference]:
    images = _of(scenes, Image)
    if len(images) == 1:
        yield from _by_place(*images[0])
    kinds: tuple[tuple[Literal["shape", "digit"], Category, Sort], ...] = (
        ("shape", "image-shape", "shape"),
        ("digit", "image-digit", "number"),
    )
    for kind, category, sort in kinds if images else ():
        for colour in COLOURS:
            seen = [
                (part, item)
                for part, image in images
                for item in image.items
                if item.kind == kind and item.colour == colour
            ]
            phrase = f"the {kind} in {colour}"
            article = "a " if kind == "shape" else ""
            if len(seen) == 1:
                (part, item), *_ = seen
                source = _image_source(part, item)
                yield _noun(category, phrase, sort, part, item.name, (source,), article)
            elif not seen:
                yield _noun(category, phrase, sort, images[0][0], article=article)


def _by_place(part: int, image: Image) -> Iterator[Reference]:
    items = {item.place: item for item in image.items}
    for place in PLACES:
        item = items.get(place)
        sources = (_image_source(part, item),) if item else ()
        colour = item.colour if item else None
        phrase = f"the colour at the {place}"
        yield _noun("image-colour", phrase, "colour", part, colour, sources)
        shape = item.name if item and item.kind == "shape" else None
        phrase = f"the shape at the {place}"
        yield _noun("image-shape", phrase, "shape", part, shape, sources if shape else (), "a ")
        digit = item.name if item and item.kind == "digit" else None
        phrase = f"the digit at the {place}"
        yield _noun("image-digit", phrase, "number", part, digit, sources if digit else ())


def _image_source(part: int, item: ImageItem) -> ImageSource:
    return ImageSource(message=0, part=part, box=item.box, shows=item_boxes(item))


def _audios(scenes: Sequence[Scene]) -> Iterator[Reference]:
    audios = _of(scenes, Audio)
    if len(audios) == 1:
        yield from _by_second(*audios[0])
    tracks = [video.sound for _, video in _of(scenes, Video) if video.sound is not None]
    tones = Counter(
        event.name for audio in [*(audio for _, audio in audios), *tracks] for event in audio.events
    )
    for tone in TONES if audios else ():
        phrase = f"the number after the {tone} sound"
        if not tones[tone]:
            yield _noun("audio-after", phrase, "number", audios[0][0])
        for part, audio in audios:
            events = audio.events
            for event, after in zip(events, [*events, None][1:], strict=True):
                if event.name != tone or tones[tone] > 1:
                    continue
                if after is None or after.kind == "tone":
                    yield _noun("audio-after", phrase, "number", part)
                elif after.start - event.end < _AT_ONCE:
                    # Without the tone nothing says which number is meant.
                    sources = (_sound_source(part, after), _sound_source(part, event))
                    yield _noun("audio-after", phrase, "number", part, after.name, sources)


def _sound_source(
    part: int, event: SoundEvent, stream: Literal["audio"] | None = None
) -> TimeSource:
    start, end = round(event.start, 2), round(event.end, 2)
    return TimeSource(message=0, part=part, start=start, end=end, stream=stream)


def _by_second(part: int, audio: Audio) -> Iterator[Reference]:
    kinds: tuple[tuple[Literal["tone", "digit"], str, Category, Sort], ...] = (
        ("tone", "sound", "audio-tone", "tone"),
        ("digit", "number", "audio-digit", "number"),
    )
    for second, name in enumerate(SECONDS):
        shares = {
            event: _shared(event.start, event.end, second) / (event.end - event.start)
            for event in audio.events
        }
        for kind, noun, category, sort in kinds:
            phrase = f"the {noun} in second {name}"
            of_kind = [event for event in shares if event.kind == kind and shares[event] > 0]
            if not of_kind:
                yield _noun(category, phrase, sort, part)
            heard = [event for event in shares if shares[event] > _BIT]
            if len(heard) == 1 and shares[heard[0]] >= _MOST and heard == of_kind:
                sources = (_sound_source(part, heard[0]),)
                yield _noun(category, phrase, sort, part, heard[0].name, sources)


def _shared(start: float, end: float, second: int) -> float:
    return max(0.0, min(end, second + 1.0) - max(start, float(second)))


def _videos(scenes: Sequence[Scene], aligned: bool) -> Iterator[Reference]:
    videos = _of(scenes, Video)
    if len(videos) == 1:
        yield from _video_seconds(*videos[0], aligned)
    if videos:
        yield from _video_shapes(videos)
        yield from _video_numbers(videos)


def _video_seconds(part: int, video: Video, aligned: bool) -> Iterator[Reference]:
    for second, name in enumerate(SECONDS):
        words = f"what colour is the video in second {name}", f"the video in second {name} is"
        shares = [_shared(seen.start, seen.end, second) for seen in video.appearances]
        if not any(shares):
            yield Reference("video-second", *words, "colour", part)
        elif max(shares) >= 0.75 and sum(share > 0 for share in shares) == 1:
            seen = video.appearances[shares.index(max(shares))]
            if aligned and seen.colour in _colours_beside(video, second):
                continue
            start, end = max(seen.start, float(second)), min(seen.end, second + 1.0)
            sources = (_picture_source(part, video, start, end, seen),)
            yield Reference("video-second", *words, "colour", part, seen.colour, sources)


def _colours_beside(video: Video, second: int) -> set[str]:
    """Return the colours that the seconds before and after one show."""
    return {
        seen.colour
        for seen in video.appearances
        if any(_shared(seen.start, seen.end, each) for each in (second - 1, second + 1))
    }


def _picture_source(
    part: int, video: Video, start: float, end: float, seen: Appearance | None = None
) -> TimeSource:
    """Name seconds of a video's pictures; of an appearance that lasts longer, all of it shows."""
    return TimeSource(
        message=0,
        part=part,
        start=round(start, 2),
        end=round(end, 2),
        stream=None if video.sound is None else "video",
        shows=((round(seen.start, 2), round(seen.end, 2)),) if seen else None,
    )


def _video_shapes(videos: Sequence[tuple[int, Video]]) -> Iterator[Reference]:
    for shape in SHAPES:
        found: list[tuple[int, Video, Appearance]] = [
            (part, video, seen)
            for part, video in videos
            for seen in video.appearances
            if seen.shape == shape
        ]
        plain = f"what colour in the video is the {shape}", f"in the video the {shape} is"
        turned = (
            f"what colour in the video does the {shape} turn",
            f"in the video the {shape} turns",
        )
        if not found:
            yield Reference("video-object", *plain, "colour", videos[0][0])
            continue
        part, video, seen = found[-1]
        sources = (_picture_source(part, video, seen.start, seen.end),)
        if len(found) == 1:
            yield Reference("video-object", *plain, "colour", part, seen.colour, sources)
        elif len(found) == 2 and seen.turns:
            yield Reference("video-turn", *turned, "colour", part, seen.colour, sources)


def _video_numbers(videos: Sequence[tuple[int, Video]]) -> Iterator[Reference]:
    phrase = "the number in the video"
    digits = [
        (part, event)
        for part, video in videos
        for event in (video.sound.events if video.sound else ())
        if event.kind == "digit"
    ]
    if not digits:
        yield _noun("video-digit", phrase, "number", videos[0][0])
    elif len(digits) == 1:
        (part, event), *_ = digits
        sources = (_sound_source(part, event, "audio"),)
        yield _noun("video-digit", phrase, "number", part, event.name, sources)
