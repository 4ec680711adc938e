"""The words of the reference world: what can be seen, heard and read, and how it is asked.

Everything that the generator draws from and everything that the tokenizer must know stands here,
so that a richer world is a longer list and not a change of code.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "CELLS",
    "COLOURS",
    "FILLERS",
    "OBJECTS",
    "SECONDS",
    "SHAPES",
    "SYSTEM_PROMPT",
    "TONES",
    "WEIGHTS",
    "world_words",
]

OBJECTS: Final = (
    "lamp", "cup", "spoon", "coin", "key", "stone", "book", "shell", "candle", "bottle",
    "ring", "brush", "clock", "pencil", "basket", "button", "feather", "glove", "hammer", "kettle",
    "mirror", "needle", "plate", "rope",
)  # fmt: skip

WEIGHTS: Final = (
    "seven", "eight", "nine", "ten", "eleven", "twelve",
    "twenty", "thirty", "forty", "fifty", "sixty", "ninety",
)  # fmt: skip

FILLERS: Final = (
    "The garden was quiet.",
    "Nobody came to the door.",
    "The market opens early.",
    "Rain fell on the roof.",
)

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (215, 45, 45),
    "green": (45, 170, 70),
    "blue": (50, 80, 215),
    "yellow": (230, 210, 50),
    "purple": (145, 55, 175),
    "orange": (240, 140, 35),
}

SHAPES: Final = ("circle", "square", "triangle", "cross", "diamond")

CELLS: Final = ("top left", "top right", "bottom left", "bottom right")

# Names of pitches and their frequencies in hertz.
TONES: Final[dict[str, float]] = {
    "deep": 150.0,
    "low": 320.0,
    "middle": 680.0,
    "high": 1450.0,
    "shrill": 3100.0,
}

SECONDS: Final = ("one", "two", "three", "four", "five", "six")

SYSTEM_PROMPT: Final = "You are a helpful assistant."

_FRAMES: Final = (
    "The weighs grams. What does the weigh? What is the colour at the is. What is the shape at"
    " the is a. What is the sound in second is. What colour is the video in second is."
)


def world_words() -> tuple[str, ...]:
    """List every word that a request, an answer or a chat turn of this world contains, sorted."""
    texts = [
        _FRAMES,
        SYSTEM_PROMPT,
        "system user assistant",
        *OBJECTS,
        *WEIGHTS,
        *FILLERS,
        *COLOURS,
        *SHAPES,
        *CELLS,
        *TONES,
        *SECONDS,
    ]
    letters = "".join(c if c.isalpha() else " " for c in " ".join(texts))
    return tuple(sorted(set(letters.split())))
