"""The doctor: whether Omnitrace maps, captures and ablates a model at hand rightly, with evidence.

>>> from omnitrace.testing.doctor import diagnose
>>> found = diagnose(Tracer.from_pretrained("reference").adapter)  # doctest: +SKIP
>>> print(found.to_markdown())  # doctest: +SKIP

Each line of a diagnosis says what was proved and by which figures; a family's table in the docs is
made of the same lines. ``omnitrace doctor`` prints them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitrace._utils.lazy import lazy_names

if TYPE_CHECKING:
    from omnitrace.testing.doctor.findings import Diagnosis, Line
    from omnitrace.testing.doctor.run import CHECKS, diagnose

__all__ = ["CHECKS", "Diagnosis", "Line", "diagnose"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "omnitrace.testing.doctor.run": ["CHECKS", "diagnose"],
        "omnitrace.testing.doctor.findings": ["Diagnosis", "Line"],
    },
)
