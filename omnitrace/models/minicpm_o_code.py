"""The code that comes with MiniCPM-o, written for ``transformers`` 4.51, under version 5.

Three things differ there, and are made up for: how a model's ``__init__`` ends, what loading does
to buffers that are not saved, and what the attention of Whisper returns.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

from omnitrace.models.base import LoadOptions

__all__ = ["as_in_version_4", "loaded"]


def loaded(path: str, options: LoadOptions) -> Any:
    """Load the model without its speech; the user has allowed its code to run."""
    from transformers import AutoConfig
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    config = AutoConfig.from_pretrained(path, **options.for_config())
    model_class = get_class_from_dynamic_module(
        config.auto_map["AutoModel"], path, revision=options.revision
    )
    model = _completed(model_class).from_pretrained(path, init_tts=False, **options.for_model())
    _fill_buffers(model)
    return model.eval()


def _completed(model_class: Any) -> Any:
    """Return the class with an ``__init__`` that ends with ``post_init``, without which none loads.

    In version 4 it was for models that asked for it.
    """

    class Completed(model_class):  # type: ignore[misc]
        def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(config, *args, **kwargs)
            if not hasattr(self, "all_tied_weights_keys"):
                self.post_init()

    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(Completed, name, getattr(model_class, name))
    return Completed


def _fill_buffers(model: Any) -> None:
    """Compute the places of the resampler's patches again.

    They are not saved with the weights, and loading leaves chance memory in such buffers.
    """
    if not hasattr(model, "resampler"):
        return
    fresh = model.init_resampler(model.embed_dim, model.vision_dim)
    device = next(model.resampler.parameters()).device
    saved = fresh.state_dict()
    for name, value in fresh.named_buffers():
        if name not in saved:
            owner, _, last = name.rpartition(".")
            setattr(model.resampler.get_submodule(owner), last, value.to(device))


@contextlib.contextmanager
def as_in_version_4(encoder: Any) -> Iterator[None]:
    """Let the audio encoder's attention return three values inside, as in ``transformers`` 4.

    The third was the cache, and there is none here. Layers that take a ``layer_head_mask``, as
    they did then, unpack three.
    """
    old = [
        layer.self_attn
        for layer in encoder.layers
        if "layer_head_mask" in inspect.signature(layer.forward).parameters
    ]

    def after(module: Any, args: Any, output: Any) -> Any:
        return (*output, None) if len(output) == 2 else output

    handles = [attention.register_forward_hook(after) for attention in old]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
