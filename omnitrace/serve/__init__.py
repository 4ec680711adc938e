"""A server of one model: a page on which responses and their evidence appear as they are written.

>>> from omnitrace import Tracer
>>> from omnitrace.serve import ServeOptions, create_app
>>> app = create_app(Tracer.from_pretrained("reference"), ServeOptions())  # doctest: +SKIP

It needs the extra ``serve``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitrace._utils.lazy import lazy_names

if TYPE_CHECKING:
    from omnitrace.serve.app import create_app
    from omnitrace.serve.options import ServeOptions
    from omnitrace.serve.server import serve

__all__ = ["ServeOptions", "create_app", "serve"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "omnitrace.serve.app": ["create_app"],
        "omnitrace.serve.options": ["ServeOptions"],
        "omnitrace.serve.server": ["serve"],
    },
)
