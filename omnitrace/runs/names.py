"""Names of files that are known before a request is run: a pure function of its id."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

from omnitrace._utils.file_names import safe_name

__all__ = ["trace_name"]

_DIGITS: Final = 12
_LIKE_OURS: Final = re.compile(rf"-[0-9a-f]{{{_DIGITS}}}$")


def trace_name(request_id: str) -> str:
    """Return the file name, without ending, of what belongs to a request.

    The same on every machine, shard and file system: an id that is a safe name in small letters is
    its own name. Any other gets a short digest behind its safe form, since file systems that know
    no case, or another Unicode form, would take it for that of another id.
    """
    safe = safe_name(request_id)
    if safe == request_id and _is_only_form(request_id) and not _LIKE_OURS.search(request_id):
        return safe
    digest = hashlib.sha256(request_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{safe}-{digest[:_DIGITS]}"


def _is_only_form(text: str) -> bool:
    """Whether no file system takes another text for this one."""
    return text == text.casefold() == text.upper().casefold() == unicodedata.normalize("NFC", text)
