"""What becomes of traces, and which requests are traced: options of commands that run requests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omnitrace._utils.files import make_folder
from omnitrace.errors import InputError
from omnitrace.runs.attempts import ATTEMPTS
from omnitrace.runs.run import OnChange
from omnitrace.runs.shards import Shard

if TYPE_CHECKING:
    from omnitrace.runs.executor import Executor

__all__ = ["RunChoices", "TraceOutput", "asked_executor"]


def asked_executor(
    name: str | None, actors: int | None, gpus: float | None, out: Path | None
) -> Executor | None:
    """Return the executor of ``--on``, or None where this process works.

    Raises
    ------
    PluginError
        If there is none of that name; the text says what to install.
    InputError
        If other options mean nothing without it, or it has no folder to write to.
    """
    if name is None:
        for option, value in (("--actors", actors), ("--gpus-per-actor", gpus)):
            if value is not None:
                raise InputError(f"{option} means nothing without --on", fix="add --on ray")
        return None
    from omnitrace.plugins.registry import registry

    entry = registry().executor(name)
    if out is None:
        raise InputError(f"--on {name} has no folder to write to", fix="add --out DIR")
    executor: Executor = entry.make(actors=actors, gpus=gpus)
    return executor


@dataclass(frozen=True, slots=True)
class TraceOutput:
    """What becomes of traces.

    ``out`` is the folder that they are kept in, if they are; ``html`` also writes a report there,
    ``media`` also keeps the original media, ``metadata`` with all that is in them. ``as_json``
    prints one JSON document a request, instead of the spans.
    """

    out: Path | None = None
    html: bool = False
    media: bool = False
    as_json: bool = False
    metadata: bool = False

    @classmethod
    def asked(
        cls, out: Path | None, html: bool, media: bool, as_json: bool, metadata: bool
    ) -> TraceOutput:
        """Check what the options ask for, and make the folder, before a model is loaded."""
        if out is None and (html or media):
            option = "--html" if html else "--media"
            raise InputError(f"{option} has no folder to write to", fix="add --out DIR")
        if metadata and not media:
            raise InputError("--keep-metadata has no media to keep", fix="add --media")
        return cls(None if out is None else make_folder(out), html, media, as_json, metadata)


@dataclass(frozen=True, slots=True)
class RunChoices:
    """Which requests are traced, and how a run in the folder of ``--out`` goes on.

    Attributes
    ----------
    limit, shard:
        See :func:`~omnitrace.runs.chosen`.
    on_change, resume, attempts:
        As for :func:`~omnitrace.runs.open_run`.

    Raises
    ------
    InputError
        By :meth:`check`, where there is no folder that the last three could be about.
    """

    limit: int | None = None
    shard: Shard | None = None
    on_change: OnChange = "refuse"
    resume: bool = True
    attempts: int = ATTEMPTS

    @classmethod
    def asked(
        cls, limit: int | None, shard: str | None, on_change: OnChange, resume: bool, attempts: int
    ) -> RunChoices:
        """Read the options as they were given."""
        part = None if shard is None else Shard.parse(shard)
        return cls(limit, part, on_change, resume, attempts)

    def check(self, out: Path | None) -> None:
        """Refuse what means nothing without a folder."""
        usual = RunChoices()
        for option in ("on_change", "resume", "attempts"):
            if out is None and getattr(self, option) != getattr(usual, option):
                name = "--no-resume" if option == "resume" else f"--{option.replace('_', '-')}"
                raise InputError(f"{name} is about a folder of traces", fix="add --out DIR")
