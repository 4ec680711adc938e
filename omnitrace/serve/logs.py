"""What the server logs: never what requests and responses say, unless that was asked for."""

from __future__ import annotations

import logging
import traceback
from typing import Final

__all__ = ["LOGGER", "describe_defect", "one_line"]

LOGGER: Final = logging.getLogger("omnitrace.serve")


def describe_defect(error: BaseException, *, content: bool) -> str:
    """Return an error's type and where it was raised; its text only where content is logged."""
    if content:
        return "".join(traceback.format_exception(error))
    frames = traceback.extract_tb(error.__traceback__)
    places = "".join(f"\n  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
    return f"{type(error).__name__}{places}"


def one_line(text: str, most: int = 200) -> str:
    """Return a text that cannot begin another line of a log, nor move a terminal's cursor."""
    shown = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in shown)
