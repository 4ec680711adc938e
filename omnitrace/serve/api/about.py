"""What the server is: its model, and what can be asked of it."""

from __future__ import annotations

import importlib.metadata
from typing import Any, Final

from fastapi import APIRouter

from omnitrace.errors import OmnitraceError
from omnitrace.plugins.registry import registry
from omnitrace.serve.state import ServerState

__all__ = ["about", "router"]

_LIMITS: Final = (
    *("body_bytes", "upload_bytes", "parts", "prompt_tokens", "new_tokens", "request_seconds"),
    *("queue_length", "requests_per_client", "uploads_per_client"),
)
_MEDIA_LIMITS: Final = (
    *("max_image_pixels", "max_audio_seconds", "max_video_seconds", "max_video_frames"),
)


def router(state: ServerState) -> APIRouter:
    """Return the route."""
    routes = APIRouter()
    described = about(state)

    @routes.get("/api/about")
    async def get() -> dict[str, Any]:
        return described

    return routes


def about(state: ServerState) -> dict[str, Any]:
    """Describe the server."""
    setup, options = state.tracer.setup, state.options
    signals, chosen = _signals(state), setup.signals
    unitizers: dict[str, list[dict[str, str]]] = {
        modality: [
            {"name": entry.name, "help": entry.summary}
            for entry in registry().unitizers.values()
            if modality in entry.modalities
        ]
        for modality in ("image", "audio", "video")
    }
    texts = ("sentence", "paragraph", "whole", "documents")
    return {
        "version": importlib.metadata.version("omnitrace-attribution"),
        "model": setup.adapter.source,
        "modalities": list(setup.adapter.modalities),
        "thinking": setup.thinking is not None,
        "signals": signals,
        "default_signal": (chosen.span or chosen.token).name,
        "verifies": setup.verify is not None,
        "unitizers": {**unitizers, "text": [{"name": name, "help": ""} for name in texts]},
        "selection": setup.selection.to_dict(),
        "exports": [
            {"name": entry.name, "help": entry.summary} for entry in registry().exporters.values()
        ],
        "limits": {
            **{name: getattr(options, name) for name in _LIMITS},
            **{name: getattr(options.media, name) for name in _MEDIA_LIMITS},
        },
    }


def _signals(state: ServerState) -> list[dict[str, Any]]:
    """Return the signals that this model can be asked for."""
    found = []
    for entry in registry().signals.values():
        try:
            setup = state.tracer.with_options(signal=entry.name, verify=False).setup
        except (OmnitraceError, TypeError):
            continue  # it needs a file, or something that the model cannot give
        found.append({"name": entry.name, "streams": setup.streams, "help": entry.summary})
    return found
