"""README and docs do what they say: every Python and bash block runs, and prints what follows it.

A page's blocks run in their order, in one namespace and one folder of their own. Bash blocks are
``omnitrace`` commands, run in this process. An ``output`` block shows what the block before it
prints (``...`` stands for any text). A block that cannot run here says why in the source, in a
comment before it: ``<!-- not run: needs a model from a hub -->``.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from sybil import Document, Example, Sybil
from sybil.parsers.markdown import CodeBlockParser
from typer.testing import CliRunner

from omnitrace.cli.app import app
from omnitrace.plugins.registry import registry

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_CODE: Final = [page for page in PAGES if "```" in page.read_text(encoding="utf-8")]
SHOWN_ONLY: Final = {"json", "text", "toml", "yaml"}
REASONS: Final = (
    "installs packages",
    "needs a model from a hub",
    "needs a server",
    "needs the plugin omnitrace-ray",
    "is a test module",
    "serves until it is ended",
)
_FENCE: Final = re.compile(r"^```(\S*)[^\n]*\n.*?^```$", re.MULTILINE | re.DOTALL)
_NOT_RUN: Final = re.compile(r"<!-- not run: ([^\n]+) -->\n+\Z")
_SAME: Final = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def reason_against(text: str, start: int) -> str | None:
    """Return why the block that starts here is not run, if a comment before it says so."""
    found = _NOT_RUN.search(text[:start])
    return None if found is None else found[1]


def run_python(example: Example) -> None:
    if reason_against(example.document.text, example.start) is not None:
        return
    namespace = example.document.namespace
    lines = example.line + example.parsed.line_offset
    code = compile("\n" * lines + example.parsed, example.path, "exec", dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, namespace)
    namespace["_printed"] = printed.getvalue()


def run_bash(example: Example) -> None:
    if reason_against(example.document.text, example.start) is not None:
        return
    printed = ""
    for line in example.parsed.replace("\\\n", " ").splitlines():
        command = shlex.split(line, comments=True)
        if not command:
            continue
        assert command[0] == "omnitrace", f"not a command of this package: {line}"
        result = CliRunner(env={"COLUMNS": "100"}).invoke(app, command[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
        printed += result.stdout
    example.document.namespace["_printed"] = printed


def compare_output(example: Example) -> str | None:
    printed = example.document.namespace.get("_printed", "")
    checker = doctest.OutputChecker()
    if checker.check_output(example.parsed, printed, _SAME):
        return None
    return f"expected:\n{example.parsed}\nprinted:\n{printed}"


SYBIL: Final = Sybil(
    parsers=[
        CodeBlockParser(language="python", evaluator=run_python),
        CodeBlockParser(language="bash", evaluator=run_bash),
        CodeBlockParser(language="output", evaluator=compare_output),
    ]
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Let small models run on one thread: several only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def documents(pages: Iterable[Path]) -> list[Any]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages]


@pytest.mark.parametrize("page", documents(WITH_CODE))
def test_every_snippet_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    document: Document = SYBIL.parse(page)
    examples = list(document.examples())
    fences = [found[1] for found in _FENCE.finditer(document.text)]
    assert len(examples) == sum(language not in SHOWN_ONLY for language in fences), fences
    known = set(registry().signals)
    for example in examples:
        example.evaluate()
    assert set(registry().signals) == known, "a snippet left a signal behind"


def test_blocks_that_do_not_run_are_few_and_say_why() -> None:
    reasons = []
    for page in WITH_CODE:
        text = page.read_text(encoding="utf-8")
        blocks = [reason_against(text, found.start()) for found in _FENCE.finditer(text)]
        found = [reason for reason in blocks if reason is not None]
        assert len(found) == text.count("<!-- not run:"), f"{page}: a mark without a block"
        reasons += found
    assert all(reason.startswith(REASONS) for reason in reasons), reasons
    assert len(reasons) <= 16, reasons
