"""Exit codes: 0 fine, 1 a defect of ours, 2 the user's mistake, 130 Ctrl-C."""

from __future__ import annotations

import functools
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Final, ParamSpec

import typer

from omnitrace.cli.console import plain
from omnitrace.errors import OmnitraceError, SourceWarning

__all__ = [
    "DEFECT",
    "INTERRUPTED",
    "MISTAKE",
    "guarded",
    "say",
    "say_defect",
    "say_mistake",
    "say_problems",
]

DEFECT: Final = 1
MISTAKE: Final = 2
INTERRUPTED: Final = 130
_READER_GONE: Final = 141  # 128 + SIGPIPE, as a shell reports it of other tools

_P = ParamSpec("_P")


def guarded(command: Callable[_P, None]) -> Callable[_P, None]:
    """Turn what a command raises into a message on stderr and an exit code."""

    @functools.wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _said(warnings.showwarning)
                command(*args, **kwargs)
            sys.stdout.flush()
        except (typer.Exit, typer.Abort):
            raise
        except OmnitraceError as error:
            say_mistake(str(error))
            raise typer.Exit(MISTAKE) from None
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output has closed it: no message can be shown.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_READER_GONE) from None
        except Exception:
            say_defect()
            raise typer.Exit(DEFECT) from None

    return run


def _said(show: Callable[..., None]) -> Callable[..., None]:
    """Return what says warnings about sources as a message of ours, and shows all others."""

    def said(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, SourceWarning):
            say(f"warning: {message}")
        else:
            show(message, category, *place, **more)

    return said


def say(text: str) -> None:
    """Print one paragraph on stderr."""
    print(f"omnitrace: {plain(text)}", file=sys.stderr, flush=True)


def say_mistake(text: str) -> None:
    """Print a mistake that the user can mend on stderr."""
    say(f"error: {text}")


def say_problems(problems: Iterable[object]) -> None:
    """Print several mistakes, a line each."""
    for problem in problems:
        say_mistake(str(problem))


def say_defect() -> None:
    """Print the exception that is being handled, and that it is ours."""
    traceback.print_exc()
    say("this is a defect of omnitrace; please report it with the traceback above")
