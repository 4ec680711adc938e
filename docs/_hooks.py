"""What the site adds to the pages: the command line's help, the benchmarks, plain docstrings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parent.parent
_BENCHMARKS: Final = ("benchmarks/README.md", "benchmarks/RESULTS.md")
_COMMANDS: Final = "<!-- the help of every command is put here when the site is built -->"
_ROLE: Final = re.compile(r":(?:class|func|meth|mod|attr|data|exc):<code>~?([\w.]+)</code>")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take in the pages of the benchmarks, which stand outside of the folder of the docs."""
    for page in _BENCHMARKS:
        files.append(File.generated(config, page, abs_src_path=str(ROOT / page)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Resolve links to the pages of the benchmarks, and put in the commands' help."""
    for linked in _BENCHMARKS:
        markdown = markdown.replace(f"(../../{linked}", f"(../{linked}")
    return markdown.replace(_COMMANDS, _command_help()) if _COMMANDS in markdown else markdown


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show the roles of docstrings, such as :class:`omnitrace.Trace`, as plain code."""
    return _ROLE.sub(lambda found: f"<code>{found[1].rpartition('.')[2]}</code>", html)


def _command_help() -> str:
    import typer
    from typer.cli import get_docs_for_click

    from omnitrace.cli.app import app

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="omnitrace")
    text = get_docs_for_click(obj=command, ctx=context, name="omnitrace").partition("\n")[2]
    return text.replace("][", "]\\[")  # METRIC[.low][@GROUP] is no link
