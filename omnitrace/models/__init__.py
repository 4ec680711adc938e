"""Model families: how a model is loaded, fed, and its tokens mapped to sources.

A :class:`ModelAdapter` knows one family; ``omnitrace list models`` names those that are installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitrace._utils.lazy import lazy_names

if TYPE_CHECKING:
    from omnitrace.models.base import Encoded, LoadOptions, ModelAdapter
    from omnitrace.models.causal_lm import CausalLMAdapter
    from omnitrace.models.encoded_request import EncodedRequest
    from omnitrace.models.families import FAMILIES, Family
    from omnitrace.models.loading import adapter_for, load_adapter
    from omnitrace.models.processor import ProcessorAdapter
    from omnitrace.plugins.hookspecs import RegisterModel, RegisterPretrained

__all__ = [
    "FAMILIES",
    "CausalLMAdapter",
    "Encoded",
    "EncodedRequest",
    "Family",
    "LoadOptions",
    "ModelAdapter",
    "ProcessorAdapter",
    "RegisterModel",
    "RegisterPretrained",
    "adapter_for",
    "load_adapter",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "omnitrace.models.base": ["Encoded", "LoadOptions", "ModelAdapter"],
        "omnitrace.models.causal_lm": ["CausalLMAdapter"],
        "omnitrace.models.encoded_request": ["EncodedRequest"],
        "omnitrace.models.loading": ["adapter_for", "load_adapter"],
        "omnitrace.models.families": ["FAMILIES", "Family"],
        "omnitrace.models.processor": ["ProcessorAdapter"],
        "omnitrace.plugins.hookspecs": ["RegisterModel", "RegisterPretrained"],
    },
)
