"""Read the text files that users hand in, with errors that say what is wrong with them."""

from __future__ import annotations

from pathlib import Path

from omnitrace.errors import InputError

__all__ = ["read_text"]


def read_text(path: Path, *, legal: str, subject: str = "") -> str:
    """Return the text of a UTF-8 file, without a byte order mark.

    Parameters
    ----------
    path:
        The file.
    legal:
        What a user may name instead, for the error of a file that cannot be read.
    subject:
        What named the file, for instance an option; it leads the error.

    Raises
    ------
    InputError
        If the file cannot be read or is not UTF-8.
    """
    named = f"{subject}: " if subject else ""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{named}{str(path)!r} is not UTF-8 (byte {error.start})", fix="save it as UTF-8"
        ) from error
    except (OSError, ValueError) as error:  # a path with a null character is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{named}cannot read {str(path)!r}: {reason}", legal=legal) from error
