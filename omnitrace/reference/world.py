"""The generated world: requests whose evidence is known for every word of the answer.

A request is one user message: notes, images, audio and videos in any order and number, and last
a text part with one or more questions. :mod:`omnitrace.reference.scenes` draws what the parts show,
:mod:`omnitrace.reference.questions` says what can be asked. A statement of the answer has one
source, two (a sum, a comparison), or none ("unknown"). What needs several steps is asked in
samples of its own (:mod:`omnitrace.reference.reasoning`).

Every value is drawn independently, so that no value says anything about another, and a question
whose evidence is ablated can be answered by chance only. Notes repeat false claims about themselves
and about other parts. Seeds below :data:`VALIDATION` train, those below :data:`HELD_OUT` choose
configurations, and those from it on test: the three never overlap.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final, get_args

from omnitrace.errors import InputError
from omnitrace.reference.aligned import (
    draw_aligned_audio,
    draw_aligned_image,
    draw_aligned_video,
)
from omnitrace.reference.questions import Category, Reference, Scene, references
from omnitrace.reference.reasoning import THINKING_CATEGORIES, Problems
from omnitrace.reference.samples import (
    Sample,
    Sentence,
    Statement,
    ThinkingCategory,
    Value,
    capital,
    media_name,
    modality_of,
    said,
    statements_of,
)
from omnitrace.reference.scenes import (
    Note,
    draw_audio,
    draw_image,
    draw_note,
    draw_video,
)
from omnitrace.reference.words import COLOURS, DIGITS, NUMBERS, SHAPES, TONES
from omnitrace.types import Modality

__all__ = [
    "CATEGORIES",
    "HELD_OUT",
    "MODALITIES",
    "THINKING_CATEGORIES",
    "VALIDATION",
    "Category",
    "Sample",
    "Statement",
    "ThinkingCategory",
    "Value",
    "held_out_seed",
    "make_sample",
    "media_name",
    "modality_of",
    "training_seed",
    "validation_seed",
]

CATEGORIES: Final[tuple[Category, ...]] = get_args(Category)
"""What can be asked in one step."""
MODALITIES: Final[tuple[Modality, ...]] = ("text", "image", "audio", "video")
"""What a request can have as sources."""

VALIDATION: Final = 2**40
"""The first seed that is for choices."""
HELD_OUT: Final = 2**41
"""The first seed that is for measuring only."""
_SOUNDING: Final = 0.4
_LONG: Final = 0.15  # of the requests have an audio or video part of up to a minute and more

_NATURAL: Final = (draw_image, draw_audio, draw_video)
_ALIGNED: Final = (draw_aligned_image, draw_aligned_audio, draw_aligned_video)

_PAIRED: Final = 12  # references that sums and comparisons are made of
_ASKED: Final = 4  # sums or comparisons that a request can ask for


def training_seed(run: int, number: int) -> int:
    """Seed of training sample ``number`` of training run ``run``; always below the others."""
    if not (0 <= run < 2**8 and 0 <= number < 2**32):
        raise InputError(
            f"training run {run}, sample {number}", legal="run in [0, 2**8), sample in [0, 2**32)"
        )
    return run * 2**32 + number


def validation_seed(number: int) -> int:
    """Seed of validation sample ``number``: for choices, never for figures."""
    if not 0 <= number < HELD_OUT - VALIDATION:
        raise InputError(f"validation sample {number}", legal="a number from 0 to 2**40 - 1")
    return VALIDATION + number


def held_out_seed(number: int) -> int:
    """Seed of held-out sample ``number``, which no training run and no choice can draw."""
    if number < 0:
        raise InputError(f"held-out sample {number}", legal="a number from 0 on")
    return HELD_OUT + number


def make_sample(
    seed: int,
    *,
    questions: int | None = None,
    order: Sequence[Modality] | None = None,
    categories: Sequence[Category | ThinkingCategory] | None = None,
    long: bool | None = None,
    sounding: bool | None = None,
    pool: int | None = None,
    paired: bool = False,
    thinking: bool = False,
    aligned: bool = False,
) -> Sample:
    """Draw the sample of a seed; the same arguments give the same sample everywhere.

    Parameters
    ----------
    seed:
        Any integer from 0 on; see :func:`training_seed` and :func:`held_out_seed`.
    questions:
        How many questions; fewer where the parts answer fewer. By default one to six, of those
        that need several steps one to three.
    order:
        The parts before the questions. By default every modality with a chance of 0.7 and, one in
        six, once more, at least one part, in random order.
    categories:
        Ask only about these. By default about whatever the parts show.
    long:
        Whether an audio or video part of the request lasts up to a minute and more; by default one
        request in seven has one.
    sounding:
        Whether the videos of the request have sound; by default those of two requests in five. It
        is all or none, since Qwen2.5-Omni uses the sound of all videos of a request or of none.
    pool:
        Draw media from so many of each kind only, which training can keep in memory. Their seeds
        are below ``pool``, of aligned ones below twice as much; those of other samples are above
        2**32.
    paired:
        Whether notes state both facts of every object that they name, rather than of half of them.
    aligned:
        Draw media whose evidence lies within whole units (:mod:`omnitrace.reference.aligned`), and
        ask for the colour of a second only where its neighbours show another one.
    thinking:
        Ask what needs several steps (:mod:`omnitrace.reference.reasoning`), which the answer writes
        first, as thoughts. The parts are those that the seed has without; a request that says too
        few numbers gets a note besides, if neither its parts nor its questions are given.
    """
    rng = random.Random(seed)
    parts = _parts(rng) if order is None else tuple(order)
    if not parts or set(parts) - set(MODALITIES):
        raise InputError(f"parts {list(parts)}", legal=f"one or more of {list(MODALITIES)}")
    count = rng.randint(1, 6) if questions is None else questions
    if count < 1:
        raise InputError(f"{count} questions", legal="one or more")
    drawn = rng.random() < _LONG, rng.random() < _SOUNDING
    scenes = _scenes(
        rng,
        parts,
        drawn[0] if long is None else long,
        drawn[1] if sounding is None else sounding,
        pool,
        paired,
        aligned,
    )
    found = references(scenes, aligned=aligned)
    known = THINKING_CATEGORIES if thinking else CATEGORIES
    wanted = known if categories is None else categories
    if thinking:
        asked = (count + 1) // 2 if questions is None else count
        chosen = Problems(rng, found, wanted).pick(asked)
    else:
        chosen = _pick(rng, _Pools(rng, found, wanted), count)
    if not chosen and thinking and order is None and categories is None:
        return make_sample(
            seed,
            questions=questions,
            order=(*parts, "text"),
            long=long,
            sounding=sounding,
            pool=pool,
            paired=paired,
            thinking=True,
            aligned=aligned,
        )
    if not chosen:
        raise InputError(
            f"no question of {list(wanted)} can be asked about {list(parts)}",
            legal=f"categories of {list(known)} that the parts show",
        )
    return Sample(seed, tuple(scenes), tuple(chosen), aligned=aligned)


def _parts(rng: random.Random) -> tuple[Modality, ...]:
    drawn: list[Modality] = [m for m in MODALITIES if rng.random() < 0.7]
    drawn += [m for m in drawn if rng.random() < 1 / 6]
    drawn = drawn or [rng.choice(MODALITIES)]
    rng.shuffle(drawn)
    return tuple(drawn)


def _scenes(
    rng: random.Random,
    parts: Sequence[Modality],
    long: bool,
    sounding: bool,
    pool: int | None,
    paired: bool,
    aligned: bool,
) -> list[Scene]:
    def seed() -> int:
        return rng.randrange(pool) + pool * aligned if pool else 2**32 + rng.getrandbits(48)

    image, audio, video = _ALIGNED if aligned else _NATURAL

    timed = [part for part, modality in enumerate(parts) if modality in ("audio", "video")]
    long_part = rng.choice(timed) if timed and long else -1
    scenes: list[Scene] = []
    for part, modality in enumerate(parts):
        if modality == "image":
            scenes.append(image(seed()))
        elif modality == "audio":
            scenes.append(audio(seed(), long=part == long_part))
        elif modality == "video":
            scenes.append(video(seed(), long=part == long_part, sounding=sounding))
        else:
            scenes.append(Note("", ()))
    known = references(scenes, aligned=aligned)
    media = [reference for reference in known if reference.sources]
    for part, modality in enumerate(parts):
        if modality == "text":
            claims = tuple(_claim(rng, rng.choice(media)) for _ in range(bool(media)))
            kept = claims if rng.random() < 0.25 else ()
            scenes[part] = draw_note(rng.getrandbits(48), claims=kept, paired=paired)
    return scenes


def _claim(rng: random.Random, reference: Reference) -> str:
    """Make a claim about a part that need not be true."""
    return f"{reference.said} {reference.article}{_another(rng, reference)}"


def _another(rng: random.Random, reference: Reference) -> str:
    words = {"number": DIGITS, "colour": COLOURS, "shape": SHAPES, "tone": TONES}[reference.sort]
    return rng.choice([word for word in words if word != reference.value])


class _Pools:
    """What can still be asked, by category; no reference is asked for twice by itself."""

    def __init__(
        self,
        rng: random.Random,
        found: list[Reference],
        categories: Sequence[Category | ThinkingCategory],
    ) -> None:
        self.rng = rng
        wanted = set(categories)
        known = [reference for reference in found if reference.value is not None]
        unknown = [reference for reference in found if reference.value is None]
        self.singles: dict[Category, list[Reference]] = {}
        for reference in known:
            if reference.category in wanted:
                self.singles.setdefault(reference.category, []).append(reference)
        if "refusal" in wanted and unknown:
            # A kind of question each, or the objects that no note names would be nearly all.
            kinds = sorted({reference.category for reference in unknown})
            self.singles["refusal"] = [
                rng.choice([r for r in unknown if r.category == kind]) for kind in kinds
            ]
        for pool in self.singles.values():
            rng.shuffle(pool)
        self.pairs: dict[Category, list[tuple[Reference, Reference]]] = {}
        two: tuple[tuple[Category, tuple[str, ...]], ...] = (
            ("two-sum", ("number",)),
            ("two-agree", ("number", "colour")),
        )
        for category, sorts in two:
            if category in wanted:
                pairs = self._pairs([r for r in known if r.sort in sorts], category == "two-agree")
                if pairs:
                    self.pairs[category] = pairs

    def _pairs(self, found: list[Reference], balanced: bool) -> list[tuple[Reference, Reference]]:
        """Pair references of different parts; ``balanced``: a coin says whether a pair is equal.

        How often it is thrown must not depend on how it fell, or the last pair could be predicted.
        """
        self.rng.shuffle(found)
        pairs = [
            (a, b)
            for i, a in enumerate(found[:_PAIRED])
            for b in found[i + 1 : _PAIRED]
            if a.part != b.part and a.sort == b.sort
        ]
        self.rng.shuffle(pairs)
        if not balanced:
            return pairs[:_ASKED]
        same = [pair for pair in pairs if pair[0].value == pair[1].value]
        other = [pair for pair in pairs if pair[0].value != pair[1].value]
        each = min(len(same), len(other), _ASKED)
        return [self.rng.choice((same, other)).pop() for _ in range(each)]

    def __bool__(self) -> bool:
        return bool(self.singles or self.pairs)

    def draw(self) -> Sentence:
        """Draw a question, every category equally likely."""
        category = self.rng.choice([*self.singles, *self.pairs])
        if category in self.pairs:
            pair = self.pairs[category].pop()
            if not self.pairs[category]:
                del self.pairs[category]
            return _sum(*pair) if category == "two-sum" else _agree(*pair)
        single = self.singles[category].pop()
        if not self.singles[category]:
            del self.singles[category]
        return _what(single, category)


def _pick(rng: random.Random, pools: _Pools, count: int) -> list[Statement]:
    chosen: list[Sentence] = []
    while len(chosen) < count and pools:
        chosen.append(pools.draw())
    rng.shuffle(chosen)
    return statements_of((), chosen)


def _what(reference: Reference, category: Category) -> Sentence:
    pieces = (*said(reference), (".", None))
    return Sentence(category, f"{capital(reference.asked)}?", pieces)


def _both(
    a: Reference, b: Reference, category: Category, asked: str, before: str, word: str
) -> Sentence:
    question = f"{capital(a.asked)}, {b.asked}, and {asked}?"
    result = ((before, None), (word, a.sources + b.sources), (".", None))
    return Sentence(category, question, (*said(a), *said(b, " and "), *result))


def _sum(a: Reference, b: Reference) -> Sentence:
    total = NUMBERS[NUMBERS.index(str(a.value)) + NUMBERS.index(str(b.value))]
    return _both(a, b, "two-sum", "what do they make", ", together ", total)


def _agree(a: Reference, b: Reference) -> Sentence:
    word = "equal" if a.value == b.value else "different"
    return _both(a, b, "two-agree", "are they the same", ", so they are ", word)
