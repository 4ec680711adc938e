"""Exit codes: 0 fine, 1 a defect of ours, 2 the user's mistake, 130 Ctrl-C, 143 SIGTERM."""

from __future__ import annotations

import functools
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Final, ParamSpec

import typer

from omnitrace._utils.files import reason_of
from omnitrace.cli.console import plain
from omnitrace.cli.stops import Terminated, stops
from omnitrace.errors import OmnitraceError, SourceWarning

__all__ = [
    "DEFECT",
    "INTERRUPTED",
    "MISTAKE",
    "ended_by",
    "guarded",
    "is_of_output",
    "say",
    "say_defect",
    "say_mistake",
    "say_problems",
]

DEFECT: Final = 1
MISTAKE: Final = 2
INTERRUPTED: Final = 130
_TERMINATED: Final = 143  # 128 + SIGTERM
_SHOWN: Final = 200  # mistakes of one file
_READER_GONE: Final = 141  # 128 + SIGPIPE, as a shell reports it of other tools

_P = ParamSpec("_P")


def ended_by(interrupt: KeyboardInterrupt) -> tuple[str, int]:
    """Return the words and the exit code for an interrupt."""
    if isinstance(interrupt, Terminated):
        return "ended by SIGTERM", _TERMINATED
    return "interrupted", INTERRUPTED


def is_of_output(error: Exception) -> bool:
    """Whether an error says that the standard output takes nothing more: a full disk, say.

    Errors of files name them; writing to a stream that is open names none.
    """
    return isinstance(error, OSError) and error.errno is not None and error.filename is None


def guarded(command: Callable[_P, None]) -> Callable[_P, None]:
    """Turn what a command raises into a message on stderr and an exit code."""

    @functools.wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            with stops.taken(), warnings.catch_warnings():
                warnings.showwarning = _said(warnings.showwarning)
                command(*args, **kwargs)
            sys.stdout.flush()
        except (typer.Exit, typer.Abort):
            raise
        except OmnitraceError as error:
            say_mistake(str(error))
            raise typer.Exit(MISTAKE) from None
        except KeyboardInterrupt as interrupt:
            words, code = ended_by(interrupt)
            say(words)
            raise typer.Exit(code) from None
        except BrokenPipeError:
            # The reader of our output has closed it: no message can be shown.
            _forget_output()
            raise typer.Exit(_READER_GONE) from None
        except Exception as error:
            if is_of_output(error):
                _forget_output()
                say_mistake(f"cannot write to the standard output: {reason_of(error)}")
                raise typer.Exit(MISTAKE) from None
            say_defect(error)
            raise typer.Exit(DEFECT) from None

    return run


def _forget_output() -> None:
    """Let what is still to be printed go nowhere, so that Python does not fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    """Print several mistakes, a line each; of very many the first ones."""
    found = list(problems)
    for problem in found[:_SHOWN]:
        say_mistake(str(problem))
    if len(found) > _SHOWN:
        say(f"and {len(found) - _SHOWN} more mistakes")


def say_defect(error: Exception) -> None:
    """Print an exception with its traceback, and that it is ours."""
    traceback.print_exception(error)
    say("this is a defect of omnitrace; please report it with the traceback above")
