"""Read a question of the reference world by its words alone, and answer it from the scenes.

The slow reference of :mod:`omnitrace.reference.questions`, which goes the other way: from what the
scenes show to the questions.
"""

import re

from omnitrace.evaluation.labels.schema import ImageSource, TextSource
from omnitrace.reference.scenes import Audio, Image, Note, Video
from omnitrace.reference.words import NUMBERS, TONES


def of(scenes, kind):
    return [scene for scene in scenes if isinstance(scene, kind)]


def only(scenes, kind):
    """Return the one scene of a kind that "the image" or "second three" can mean."""
    (scene,) = of(scenes, kind)
    return scene


def tracks(scenes):
    return [video.sound for video in of(scenes, Video) if video.sound is not None]


def touched(things, second):
    """Return what is there at any moment of a second, of which the first is number one."""
    return [each for each in things if each.start < second and each.end > second - 1]


def fact(scenes, attribute, name):
    facts = [each for note in of(scenes, Note) for each in note.facts]
    return [each.value for each in facts if (each.attribute, each.name) == (attribute, name)]


def coloured(scenes, kind, colour):
    items = [each for image in of(scenes, Image) for each in image.items]
    return [each.name for each in items if (each.kind, each.colour) == (kind, colour)]


def placed(scenes, what, place):
    items = [each for each in only(scenes, Image).items if each.place == place]
    if what == "colour":
        return [each.colour for each in items]
    return [each.name for each in items if each.kind == what]


def heard(scenes, what, second):
    events = touched(only(scenes, Audio).events, NUMBERS.index(second))
    kind = {"sound": "tone", "number": "digit"}[what]
    return [each.name for each in events if each.kind == kind]


def after(scenes, tone):
    found = []
    for audio in [*of(scenes, Audio), *tracks(scenes)]:
        names = [each.name for each in audio.events]
        for place, name in enumerate(names):
            if name == tone:
                found.append(names[place + 1] if place + 1 < len(names) else "nothing")
    assert len(found) <= 1, "the sound is heard twice"
    return [name for name in found if name in NUMBERS]


def video_colour(scenes, second):
    shown = touched(only(scenes, Video).appearances, NUMBERS.index(second))
    return [each.colour for each in shown]


def shape_colour(scenes, shape):
    shown = [each for video in of(scenes, Video) for each in video.appearances]
    return [each.colour for each in shown if each.shape == shape]


def new_colour(scenes, shape):
    shown = [each for video in of(scenes, Video) for each in video.appearances]
    shown = [each for each in shown if each.shape == shape]
    assert len({each.colour for each in shown if not each.turns}) <= 1, "there are two of them"
    return [each.colour for each in shown if each.turns]


def video_number(scenes):
    return [e.name for track in tracks(scenes) for e in track.events if e.kind == "digit"]


def weight(scenes, name):
    return fact(scenes, "weight", name)


def price(scenes, name):
    return fact(scenes, "price", name)


READERS = {
    r"what does the (\w+) weigh": weight,
    r"what does the (\w+) cost": price,
    r"what is the (shape|digit) in (\w+)": coloured,
    r"what is the (shape|digit|colour) at the (\w+ \w+)": placed,
    r"what is the (sound|number) in second (\w+)": heard,
    r"what is the number after the (\w+) sound": after,
    r"what colour is the video in second (\w+)": video_colour,
    r"what colour in the video is the (\w+)": shape_colour,
    r"what colour in the video does the (\w+) turn": new_colour,
    r"what is the number in the video": video_number,
}


def read(scenes, asked):
    """Return the value that is asked for: none, or the one that there must be at most."""
    ((reader, words),) = [
        (reader, match.groups())
        for pattern, reader in READERS.items()
        if (match := re.fullmatch(pattern, asked))
    ]
    values = reader(scenes, *words)
    assert len(values) <= 1, f"{asked} is ambiguous: {values}"
    return values[0] if values else None


def carried(scene, source):
    """Return the values that a scene has where a source is."""
    if isinstance(source, TextSource):
        sentence = scene.text[source.start : source.end]
        assert re.fullmatch(r"The \w+ (weighs \w+ grams|costs \w+ coins)\.", sentence)
        return set(re.findall(r"\w+", sentence))
    if isinstance(source, ImageSource):
        x0, y0, x1, y1 = source.box
        assert 0 <= x0 < x1 <= scene.width
        assert 0 <= y0 < y1 <= scene.height
        (item,) = [each for each in scene.items if each.box == source.box]
        left, top = "left" in item.place, "top" in item.place
        assert (x1 <= scene.width / 2) if left else (x0 >= scene.width // 2)
        assert (y1 <= scene.height / 2) if top else (y0 >= scene.height // 2)
        return {item.name, item.colour}
    assert 0 <= source.start < source.end <= scene.seconds
    if isinstance(scene, Audio):
        assert source.stream is None
        return {event.name for event in there(scene.events, source)}
    if source.stream == "audio":
        return {event.name for event in there(scene.sound.events, source)}
    assert source.stream == ("video" if scene.sound else None)
    return {seen.colour for seen in there(scene.appearances, source)}


def bearing(scenes, sources):
    """Return the sources that say a number or a colour; a tone only says which number is meant."""
    return tuple(
        source for source in sources if not carried(scenes[source.part], source) <= set(TONES)
    )


def there(things, source):
    """Return what lasts through all of the seconds of a source, written in hundredths."""
    bit = 0.0051
    return [
        each for each in things if each.start <= source.start + bit and each.end >= source.end - bit
    ]
