"""Traces in the formats of other tools: tables, subtitles, boxes, annotations, API responses.

>>> from omnitrace import Trace
>>> from omnitrace.export import write_exports
>>> write_exports([("harbour", Trace.load("harbour.omnitrace"))], "csv", "exports")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitrace._utils.lazy import lazy_names

if TYPE_CHECKING:
    from omnitrace.export.base import (
        ExportedFile,
        Exporter,
        NamedTrace,
        exported_files,
        write_exports,
    )
    from omnitrace.export.table import TABLE, TABLE_VERSION, Column, rows_of, schema, write_table
    from omnitrace.plugins.hookspecs import RegisterExporter

__all__ = [
    "TABLE",
    "TABLE_VERSION",
    "Column",
    "ExportedFile",
    "Exporter",
    "NamedTrace",
    "RegisterExporter",
    "exported_files",
    "rows_of",
    "schema",
    "write_exports",
    "write_table",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "omnitrace.export.base": [
            "ExportedFile",
            "Exporter",
            "NamedTrace",
            "exported_files",
            "write_exports",
        ],
        "omnitrace.export.table": [
            "TABLE",
            "TABLE_VERSION",
            "Column",
            "rows_of",
            "schema",
            "write_table",
        ],
        "omnitrace.plugins.hookspecs": ["RegisterExporter"],
    },
)
