"""The colours of figures and of the terminal: those of Okabe and Ito, which all readers can tell.

A colour never says a thing alone: words or shapes stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["HEAT", "MODALITIES", "NEUTRAL", "OUTCOMES", "SERIES"]

NEUTRAL: Final = "#6f7378"
#: By modality.
MODALITIES: Final[Mapping[str, str]] = {
    "text": "#0072b2",
    "image": "#e69f00",
    "audio": "#009e73",
    "video": "#cc79a7",
}
#: By whether a response is right: None where that is not known.
OUTCOMES: Final[Mapping[bool | None, str]] = {True: "#0072b2", False: "#d55e00", None: NEUTRAL}
#: For things that only have to be told apart, such as traces.
SERIES: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
#: A map from little to much that is also right in grey (of matplotlib).
HEAT: Final = "cividis"
