"""Uploads: send a file, look at it again, delete it."""

from __future__ import annotations

import asyncio
import mimetypes
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.responses import FileResponse

from omnitrace.errors import InputError
from omnitrace.serve.api.client import Client
from omnitrace.serve.state import ServerState

__all__ = ["router"]

_TYPES: Final = {
    "image": ("image/png", "image/jpeg", "image/webp", "image/gif", "image/avif", "image/bmp"),
    "audio": ("audio/mpeg", "audio/flac", "audio/ogg", "audio/mp4", "audio/aac"),
    "video": ("video/webm", "video/quicktime", "video/ogg"),
}
_USUAL: Final = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4"}


def router(state: ServerState) -> APIRouter:
    """Return the routes of uploads."""
    routes = APIRouter(prefix="/api/uploads")

    @routes.post("")
    async def send(request: Request, client: Client) -> dict[str, Any]:
        uploads = state.uploads
        with uploads.place():
            async with request.form(max_files=1, max_fields=0) as form:
                files = [value for value in form.values() if isinstance(value, UploadFile)]
                if len(files) != 1:
                    raise InputError(
                        f"the form has {len(files)} files",
                        legal="one file, as multipart/form-data",
                    )
                name, file = files[0].filename or "file", files[0].file
                loop = asyncio.get_running_loop()
                made = await loop.run_in_executor(uploads.decoder, uploads.add, client, name, file)
        return made.describe()

    @routes.get("/{upload}")
    async def get(upload: str, client: Client) -> FileResponse:
        found = state.uploads.get(client, upload)
        claimed, _ = mimetypes.guess_type(found.name)
        kind = claimed if claimed in _TYPES[found.modality] else _USUAL[found.modality]
        return FileResponse(found.path, media_type=kind)

    @routes.delete("/{upload}")
    async def remove(upload: str, client: Client) -> dict[str, Any]:
        state.uploads.remove(client, upload)
        return {"upload": upload, "removed": True}

    return routes
