"""Make a model of ``transformers`` from its checkpoint, or a model without weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from omnitrace.errors import ModelError
from omnitrace.models.base import LoadOptions

__all__ = ["checkpoint_bytes", "load_model", "refuse_gguf"]


def load_model(model_class: Any, path: str, options: LoadOptions) -> Any:
    """Return the model of a checkpoint in evaluation mode, on the device of the options.

    Parameters
    ----------
    model_class:
        A model's class, or an ``Auto`` class.
    path, options:
        The checkpoint, and how it is loaded. Without weights, parameters are on "meta": they have
        shapes and no content, and only the configuration is read.
    """
    if not options.weights:
        return _empty(model_class, path, options).eval()
    model = model_class.from_pretrained(path, **options.for_model()).eval()
    return model if options.device is None else model.to(options.device)


def _empty(model_class: Any, path: str, options: LoadOptions) -> Any:
    from transformers import AutoConfig

    config_class = getattr(model_class, "config_class", None) or AutoConfig
    config = config_class.from_pretrained(path, **options.for_config())
    more = options.for_model()
    kept = {name: more[name] for name in ("dtype", "attn_implementation") if name in more}
    if kept.get("dtype") == "auto":
        del kept["dtype"]
    with torch.device("meta"):
        if hasattr(model_class, "from_config"):
            return model_class.from_config(
                config, trust_remote_code=options.trust_remote_code, **kept
            )
        return model_class._from_config(config, **kept)


def refuse_gguf(options: LoadOptions) -> None:
    """Refuse a GGUF file where a model with a processor is asked for.

    Raises
    ------
    ModelError
        ``transformers`` reads GGUF files of text models only.
    """
    if options.gguf_file is not None:
        raise ModelError(
            "transformers reads no GGUF file of a model with a processor",
            legal="safetensors checkpoints",
        )


def checkpoint_bytes(path: str, options: LoadOptions) -> int | None:
    """Return the size of a checkpoint's files of weights, without reading them; None if unknown."""
    folder = Path(path)
    if options.gguf_file is not None:
        return (folder / options.gguf_file).stat().st_size
    if folder.is_dir():
        return sum(each.stat().st_size for each in folder.glob("*.safetensors")) or None
    try:
        from huggingface_hub import HfApi

        info = HfApi().model_info(path, revision=options.revision, files_metadata=True)
    except Exception:  # offline, private, or no such model: the size is not known then
        return None
    files = info.siblings or ()
    sizes = [each.size or 0 for each in files if each.rfilename.endswith(".safetensors")]
    return sum(sizes) or None
