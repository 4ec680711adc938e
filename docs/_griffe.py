"""Give each parameter of a docstring its own type and default, also where one entry names several.

Griffe gives all names of an entry such as ``max_forwards, progress:`` those of the first one.
"""

from __future__ import annotations

from typing import Any

import griffe


class OwnTypes(griffe.Extension):
    """Takes types and defaults of parameters from the signature."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Correct all docstrings of a package that was loaded."""
        _correct(pkg)


def _correct(found: griffe.Object) -> None:
    if found.docstring is not None and isinstance(found, griffe.Class | griffe.Function):
        for section in found.docstring.parsed:
            if section.kind is griffe.DocstringSectionKind.parameters:
                for parameter in section.value:
                    if parameter.name in found.parameters:
                        signature = found.parameters[parameter.name]
                        parameter.annotation = signature.annotation
                        parameter.value = signature.default
    for member in found.members.values():
        if isinstance(member, griffe.Object):
            _correct(member)
