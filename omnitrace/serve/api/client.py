"""Who calls: each tab of the page has a key of its own, and sees what it has asked for."""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeAlias

from fastapi import Depends, Header

from omnitrace.errors import InputError

__all__ = ["Client", "client_key"]

_KEY: Final = re.compile(r"[A-Za-z0-9_-]{16,128}")


def client_key(x_omnitrace_client: Annotated[str | None, Header()] = None) -> str:
    """Return the key of the client that calls.

    Raises
    ------
    InputError
        If it sends none.
    """
    if x_omnitrace_client is None or not _KEY.fullmatch(x_omnitrace_client):
        raise InputError(
            "the request has no header X-Omnitrace-Client, or it is no key",
            legal="16 to 128 letters, digits, - and _, chosen at random once a tab",
        )
    return x_omnitrace_client


Client: TypeAlias = Annotated[str, Depends(client_key)]
