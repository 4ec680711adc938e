"""The words of the reference world: what can be seen, heard and read, and how it is asked.

Everything that the generator draws from and everything that the tokenizer must know stands here,
so that a richer world is a longer list and not a change of code.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ATTRIBUTES",
    "CLAIMS",
    "COLOURS",
    "DIGITS",
    "FILLERS",
    "NONE",
    "NUMBERS",
    "OBJECTS",
    "PLACES",
    "QUANTITIES",
    "REMARKS",
    "SECONDS",
    "SHAPES",
    "SUMS",
    "SYSTEM_PROMPT",
    "TONES",
    "UNKNOWN",
    "world_words",
]

OBJECTS: Final = (
    "lamp", "cup", "spoon", "coin", "key", "stone", "book", "shell", "candle", "bottle",
    "ring", "brush", "clock", "pencil", "basket", "button", "feather", "glove", "hammer", "kettle",
    "mirror", "needle", "plate", "rope",
)  # fmt: skip

# The words of 0 to 18; a sum of two of the world's numbers is never larger.
NUMBERS: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
    "eighteen",
)  # fmt: skip
# A sum of three is never larger than the last of these.
SUMS: Final = (
    *NUMBERS, "nineteen", "twenty",
    *(f"twenty-{number}" for number in NUMBERS[1:8]),
)  # fmt: skip
DIGITS: Final = NUMBERS[:10]  # drawn in images and spoken in audio
QUANTITIES: Final = NUMBERS[2:10]  # stated in notes
SECONDS: Final = NUMBERS[1:11]  # asked for by number, from the first to the tenth

# What a note says of an object: the noun of the question, the verb and the unit of the note.
ATTRIBUTES: Final[dict[str, tuple[str, str]]] = {
    "weight": ("weighs", "grams"),
    "price": ("costs", "coins"),
}

FILLERS: Final = (
    "The garden was quiet.",
    "Nobody came to the door.",
    "The market opens early.",
    "Rain fell on the roof.",
)

# Sentences that name an object and state nothing that is asked for.
REMARKS: Final = (
    "The {name} is old.",
    "Nobody weighs the {name}.",
    "The {name} stands near the door.",
    "Nobody sold the {name}.",
)

# How a note passes on what is not to be believed.
CLAIMS: Final = ("Some say that {claim}.", "It is not true that {claim}.")

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (215, 45, 45),
    "green": (45, 170, 70),
    "blue": (50, 80, 215),
    "yellow": (230, 210, 50),
    "purple": (145, 55, 175),
    "orange": (240, 140, 35),
}

SHAPES: Final = ("circle", "square", "triangle", "cross", "diamond")

PLACES: Final = ("top left", "top right", "bottom left", "bottom right")

# Names of pitches and their frequencies in hertz.
TONES: Final[dict[str, float]] = {
    "deep": 150.0,
    "low": 320.0,
    "middle": 680.0,
    "high": 1450.0,
    "shrill": 3100.0,
}

SYSTEM_PROMPT: Final = "You are a helpful assistant."
UNKNOWN: Final = "unknown"
NONE: Final = "none"

_FRAMES: Final = (
    "What does the weigh cost, and what do they make? Are they the same? so equal different"
    " The shape colour digit at the in is a. The sound number in second after the sound is."
    " What colour is the video in second. In the video the is turns. What colour does it turn"
    " grams coins weighs costs that unknown together"
)

_STEPS: Final = (
    "What is the sum of. Which is more than or less than. How many things in the image are odd."
    " So and make. In all none"
)


def world_words(*, thinking: bool = False) -> tuple[str, ...]:
    """List every word that a request, an answer or a chat turn of this world contains, sorted.

    With ``thinking``, those of questions of several steps too.
    """
    texts = [
        *((_STEPS, *SUMS) if thinking else ()),
        _FRAMES,
        SYSTEM_PROMPT,
        "system user assistant",
        *OBJECTS,
        *NUMBERS,
        *FILLERS,
        *(remark.format(name="") for remark in REMARKS),
        *(claim.format(claim="") for claim in CLAIMS),
        *COLOURS,
        *SHAPES,
        *PLACES,
        *TONES,
    ]
    letters = "".join(c if c.isalpha() else " " for c in " ".join(texts))
    return tuple(sorted(set(letters.split())))
