"""Make one script of ES modules, so that a page can hold it and load nothing.

The modules of ``static/`` stay as they are, for a server that can deliver them. This links those of
a plain kind only: a file imports by name from files beside it, and exports declarations.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

__all__ = ["link"]

_IMPORT: Final = re.compile(r'^import \{([^}]*)\} from "\./([a-z-]+)\.js";\n', re.MULTILINE)
_EXPORT: Final = re.compile(
    r"^export ((?:async function|function|const|class) (\w+))", re.MULTILINE
)
_OTHER: Final = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)


def link(entry: str, read: Callable[[str], str]) -> str:
    """Return a script that does what the module ``entry`` does, with all that it imports.

    Each module becomes a function that is called once, so that its other names stay its own.

    Parameters
    ----------
    entry:
        Name of the first module, without ``.js``.
    read:
        Returns the source of the module of a name.

    Raises
    ------
    ValueError
        If modules import each other in a circle, or one uses another form of import or export.
    """
    done: dict[str, str] = {}
    _link(entry, read, done, ())
    return '"use strict";\n' + "\n".join(done.values())


def _link(
    name: str, read: Callable[[str], str], done: dict[str, str], above: tuple[str, ...]
) -> None:
    if name in above:
        raise ValueError(f"modules import each other: {' > '.join((*above, name))}")
    if name in done:
        return
    source = read(name)
    for _, other in _IMPORT.findall(source):
        _link(other, read, done, (*above, name))
    source = _IMPORT.sub(lambda found: f"const {{{found[1]}}} = {_variable(found[2])};\n", source)
    exported = ", ".join(name for _, name in _EXPORT.findall(source))
    source = _EXPORT.sub(r"\1", source)
    if left := _OTHER.search(source):
        raise ValueError(f"{name}.js: cannot link {left[0]!r}")
    done[name] = f"const {_variable(name)} = (() => {{\n{source}\nreturn {{{exported}}};\n}})();"


def _variable(name: str) -> str:
    return "$" + name.replace("-", "_")
