"""Find a model by name, folder or file, and load it through its adapter."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omnitrace._utils.files import what_is
from omnitrace.errors import InputError, ModelError, OmnitraceError
from omnitrace.models.base import LoadOptions, ModelAdapter
from omnitrace.models.devices import checked_device
from omnitrace.models.pretrained import checkpoint_bytes
from omnitrace.models.wrappers import check_writes_text, unwrapped
from omnitrace.plugins.registry import Entry, registry

__all__ = [
    "REFERENCE",
    "adapter_entry",
    "adapter_for",
    "checkpoint_size",
    "first_line",
    "load_adapter",
    "load_config",
    "looks_local",
    "without_bars",
]

REFERENCE = "reference"
_TOWERS = ("vision_config", "audio_config", "thinker_config")
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*.gguf", "*.bin")


def _resolve(name: str, options: LoadOptions) -> tuple[str, LoadOptions]:
    """Return what ``from_pretrained`` takes: a built-in model, a folder, or a hub id."""
    pretrained = registry().pretrained
    if name in pretrained:
        return str(pretrained[name].make()), options
    path = _path(name)
    if path.suffix == ".gguf":
        if what_is(path) != "file":
            raise ModelError(f"there is no file {name!r}", legal="a GGUF file")
        return str(path.parent), dataclasses.replace(options, gguf_file=path.name)
    if what_is(path) == "folder":
        _check_folder(path, options)
        return str(path), options
    if looks_local(name):
        raise ModelError(
            f"there is no model folder {name!r}",
            legal=f"{_shipped()}, a hub id such as 'Qwen/Qwen2.5-Omni-3B', a folder, a GGUF file",
        )
    return name, options


def _shipped() -> str:
    """Name the models that come with installed packages."""
    return ", ".join(map(repr, registry().pretrained))


def looks_local(name: str) -> bool:
    """Whether a name means a local file or folder, existing or not, and not a hub id."""
    path = _path(name)
    written_so = path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1
    return written_so or bool(what_is(path))


def _path(name: str) -> Path:
    """Return the path of a name; ``~`` of nobody stands for itself."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def first_line(error: Exception) -> str:
    """Return the first line of what an error of a reader says; its name and value without one."""
    said = str(error).strip()
    return said.splitlines()[0] if said else repr(error)


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Hide the progress bars of ``transformers``, but not those of downloads.

    A user who has set a hook for bars (``transformers.utils.logging.set_tqdm_hook``) keeps it.
    """
    from transformers.utils import logging

    before = logging.set_tqdm_hook(_hidden_bar)
    if before is _hidden_bar:  # another thread loads a model too, and may end later
        before = None
    if before is not None:
        logging.set_tqdm_hook(before)
    try:
        with _without_gguf_bar():
            yield
    finally:
        logging.set_tqdm_hook(before)


@contextlib.contextmanager
def _without_gguf_bar() -> Iterator[None]:
    """Hide the bar over the tensors of a GGUF file, which does not ask the hook."""
    from transformers import modeling_gguf_pytorch_utils as reader

    shown = getattr(reader, "tqdm", None)
    if shown is None or isinstance(shown, functools.partial):  # hidden by another thread's load
        yield
        return
    reader.tqdm = functools.partial(shown, disable=True)
    try:
        yield
    finally:
        reader.tqdm = shown


def _hidden_bar(bar: Callable[..., Any], args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    return bar(*args, **{**options, "disable": True})


def _check_folder(path: Path, options: LoadOptions) -> None:
    if options.gguf_file is None and not (path / "config.json").is_file():
        raise ModelError(
            f"the model folder {str(path)!r} has no config.json",
            legal="a folder written by save_pretrained",
        )
    if options.weights and not any(next(path.glob(pattern), None) for pattern in _WEIGHTS):
        raise ModelError(
            f"the model folder {str(path)!r} has no weights",
            legal="*.safetensors or a GGUF file beside config.json",
            fix="copy the weights there, or name the hub id instead",
        )


def load_adapter(name: str, options: LoadOptions) -> ModelAdapter:
    """Load a model and its processor.

    Parameters
    ----------
    name:
        ``"reference"``, ``"reference-thinking"``, a hub id, a local folder, or a GGUF file.
    options:
        Passed on to ``from_pretrained``.

    Raises
    ------
    ModelError
        If there is no such model, it has no weights, or ``transformers`` cannot load it.
    InputError
        If the device does not exist.
    """
    from transformers import AutoConfig

    if options.device is not None:
        if options.device_map is not None:
            raise InputError("device and device_map are given", legal="one of them")
        checked_device(options.device)
    path, options = _resolve(name, options)
    try:
        config = AutoConfig.from_pretrained(path, **options.for_config())
        adapter_class: type[ModelAdapter] = adapter_entry(config).factory()
        with without_bars():
            adapter = adapter_class.load(path, options)
    except OmnitraceError:
        raise
    except Exception as error:  # readers of weights and tokenizers raise anything on broken files
        raise _unloadable(name, error, options) from error
    adapter.source = name
    return adapter


def _unloadable(name: str, error: Exception, options: LoadOptions) -> ModelError:
    if "trust_remote_code" in str(error) and not options.trust_remote_code:
        return ModelError(
            f"the model {name!r} comes with code of its own, which would run with all your rights",
            legal="trust_remote_code=True, which allows that",
            fix="read that code; if you trust it, pass trust_remote_code=True to from_pretrained, "
            "or --trust-remote-code before the command",
        )
    return ModelError(
        f"cannot load the model {name!r}: {first_line(error)}",
        legal=f"{_shipped()}, a hub id, a local folder, or a GGUF file",
        fix="check the name, the network, and that the folder holds config, weights, processor",
    )


def checkpoint_size(name: str, options: LoadOptions) -> int | None:
    """Return the bytes of a model's files of weights, without reading them; None if unknown."""
    return checkpoint_bytes(*_resolve(name, options))


def load_config(name: str) -> Any:
    """Load the configuration of a model alone, which may have no weights.

    Raises
    ------
    ModelError
        If there is none, or ``transformers`` does not know it.
    """
    from transformers import AutoConfig

    pretrained = registry().pretrained
    path = str(pretrained[name].make()) if name in pretrained else str(Path(name).expanduser())
    try:
        return AutoConfig.from_pretrained(path)
    except Exception as error:  # broken files, no network, an unknown type
        raise ModelError(
            f"cannot read the configuration of {name!r}: {first_line(error)}",
            legal=f"{_shipped()}, a hub id, a folder with config.json",
            fix="check the name and the network",
        ) from error


def adapter_entry(config: Any) -> Entry:
    """Return the registered adapter for a configuration.

    One that a plugin claims has its adapter. Of the others, those with a tower for images or sound
    have the one for processors, and the rest the one for text.
    """
    entry = registry().model_for(config)
    if "PreTrainedConfig" in entry.config_classes and any(
        getattr(config, name, None) is not None for name in _TOWERS
    ):
        return registry().models["processor"]
    return entry


def adapter_for(model: Any, processor: Any) -> ModelAdapter:
    """Wrap a model and processor that the user has loaded; see :func:`unwrapped`.

    A model that sees or listens, given with a tokenizer alone, is a model of text.
    """
    from transformers import PreTrainedTokenizerBase

    model = unwrapped(model)
    if not hasattr(model, "config"):
        check_writes_text(model)
    entry = adapter_entry(model.config)
    if entry.name == "processor" and isinstance(processor, PreTrainedTokenizerBase):
        entry = registry().models["causal_lm"]
    adapter_class: type[ModelAdapter] = entry.factory()
    return adapter_class(model, processor)
