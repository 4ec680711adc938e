"""Attribution methods of other packages, on our examples, model and sentences.

Each peer gets our model and tokenizer as objects and our sentences through its own interfaces, is
given the response instead of writing one, and returns one score for each sentence and span. The
prompt that it builds must be ours, token by token, or it is refused: see :func:`same_prompt`.
"""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from common.cache import code_digest, installed_version
from common.report import BenchmarkError

if TYPE_CHECKING:
    from common.examples import Example, Subject
    from common.methods import Method

__all__ = [
    "PEERS",
    "Peer",
    "chat_tokenizer",
    "choose",
    "driven",
    "same_prompt",
    "without_downloads",
]


#: What a model without a chat template is fed.
_PLAIN: Final = (
    "{{ bos_token }}{% for message in messages %}{{ message['content'] }}"
    "{% if not loop.last %}{{ '\n\n' }}{% endif %}{% endfor %}"
)


class Peer(NamedTuple):
    """A package and the module here that drives it (``methods()`` returns its rows)."""

    package: str
    module: str


PEERS: Final = (
    Peer("context-cite", "faithfulness.peers.contextcite"),
    Peer("at2", "faithfulness.peers.attend"),
    Peer("inseq", "faithfulness.peers.inseq_methods"),
    Peer("captum", "faithfulness.peers.captum_text"),
)


def choose(wanted: Sequence[str]) -> tuple[list[Method], list[str]]:
    """Return the methods of the peers, and what is to be said of those that are left out.

    Parameters
    ----------
    wanted:
        Names of packages; or ``"installed"``, ``"all"``, ``"none"``.

    Raises
    ------
    BenchmarkError
        If a package is named, or all are wanted, and it is not installed.
    """
    names = [peer.package for peer in PEERS]
    unknown = set(wanted) - {*names, "installed", "all", "none"}
    if unknown:
        raise BenchmarkError(f"no peer is called {sorted(unknown)[0]!r}; there are {names}")
    methods: list[Method] = []
    notes = []
    for peer in PEERS:
        if peer.package not in wanted and not {"installed", "all"} & set(wanted):
            continue
        if installed_version(peer.package) is not None:
            methods += importlib.import_module(peer.module).methods()
        elif list(wanted) == ["installed"]:
            notes.append(f"{peer.package} is not installed and has no row: {command(peer)}")
        else:
            raise BenchmarkError(f"{peer.package} is not installed: {command(peer)}")
    return methods, notes


def command(peer: Peer) -> str:
    """Say how a peer is installed."""
    return f"pip install {peer.package}"


def driven(package: str, file: str, **settings: Any) -> dict[str, Any]:
    """Return what a peer's scores depend on: its version, the file that drives it, its settings."""
    said = {"peer": package, "version": installed_version(package)}
    return said | {"code": code_digest(Path(file)), **settings}


def without_downloads() -> None:
    """Keep NLTK from the network: at2 and context-cite fetch sentence data when imported.

    They cut nothing here, since they are handed our sentences.
    """
    import nltk

    nltk.download = lambda *arguments, **options: False


def chat_tokenizer(subject: Subject, example: Example) -> Any:
    """Return the tokenizer with a chat template that renders a question of a user as we do.

    Peers ask as a user and know no system message, nor what a model without a template is fed. The
    example's system message becomes a part of the template.
    """
    tokenizer, system = subject.tracer.adapter.tokenizer, example.about.system
    template = tokenizer.chat_template or _PLAIN
    if system is not None:
        before = f"[{{'role': 'system', 'content': {json.dumps(system)}}}]"
        template = f"{{%- set messages = {before} + messages -%}}{template}"
    if template == tokenizer.chat_template:
        return tokenizer
    made = copy.copy(tokenizer)
    made.chat_template = template
    return made


def same_prompt(example: Example, theirs: Sequence[int], peer: str) -> None:
    """Refuse a peer that reads another prompt than ours.

    Raises
    ------
    BenchmarkError
        If the token ids differ.
    """
    if list(theirs) != list(example.trace.prompt_ids):
        raise BenchmarkError(f"{peer} builds another prompt for {example.name!r} than ours")
