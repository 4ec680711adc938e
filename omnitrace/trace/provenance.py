"""Where a trace comes from: model, signal, options and versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omnitrace.sources.options import SourceOptions

__all__ = ["Provenance"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a trace comes from: enough to reproduce it.

    ``signal`` holds ``name``, ``parameters`` and ``layers`` (the decoder layers that were read).
    With a span signal it also holds ``token_signal``, the name of the signal that gave the token
    scores. Where attention sinks were removed, ``sinks`` says how, how many positions and what
    mass. ``versions`` maps package names to versions, ``timings`` names to seconds. ``finished`` is
    false where the response was cut off by ``max_new_tokens``.
    """

    model: str
    adapter: str
    revision: str | None = None
    config_digest: str = ""
    processor: str = ""
    attention: str = ""
    dtype: str = ""
    signal: Mapping[str, Any] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    salience: str = ""
    segmentation: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    created: str = ""
    finished: bool = True

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the choice of sources, such as that there are none."""
        return tuple(self.segmentation.get("notes", ()))

    @property
    def template(self) -> dict[str, Any]:
        """What the request gave to the chat template, as arguments of ``Tracer.trace``."""
        given = dict(self.generation.get("template") or {})
        tools = given.pop("tools", None)
        return {
            **({"tools": tools} if tools else {}),
            **({"chat_template_kwargs": given} if given else {}),
        }

    def source_options(self) -> SourceOptions | None:
        """Return the options under which the request was cut into units, None if it is not known.

        Raises
        ------
        InputError
            If a unitizer is not installed here.
        """
        record = self.segmentation.get("sources")
        if not record:
            return None
        return SourceOptions.from_record(record, self.segmentation.get("language", "en"))
