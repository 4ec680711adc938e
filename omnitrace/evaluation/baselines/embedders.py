"""Models of ``transformers`` that embed: sentence encoders, and encoders of texts and pictures.

Texts and pictures get vectors whose cosine says how alike they are. A model with
``get_text_features`` (CLIP, SigLIP and their kin) embeds by its own projections; of any other
encoder (BERT, MPNet, …) the last hidden states are averaged over the tokens of a text, as Sentence
Transformers do (Reimers & Gurevych 2019, arXiv 1908.10084, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from omnitrace._utils.files import what_is
from omnitrace.errors import ModelError, NotSupportedError
from omnitrace.evaluation.baselines.similarity import Embedder
from omnitrace.models.devices import checked_device
from omnitrace.models.loading import first_line, looks_local, without_bars

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["SentenceEncoder", "TextImageEncoder", "load_embedder"]

_BATCH: Final = 32
_SPECIAL: Final = 2  # positions that RoBERTa and MPNet number but never use
_LEGAL: Final = (
    "a hub id or a folder with config, *.safetensors and tokenizer: of a sentence encoder, or of a "
    "model with get_text_features and get_image_features, such as CLIP, and its image processor"
)


def load_embedder(name: str, *, device: str = "cpu") -> Embedder:
    """Load a sentence encoder, or an encoder of texts and pictures such as CLIP or SigLIP.

    Weights are read from safetensors files only, and no code of a repository is run.

    Parameters
    ----------
    name:
        A folder or a hub id.
    device:
        Where the model runs.

    Raises
    ------
    ModelError
        If there is no such model, or it cannot be loaded so.
    NotSupportedError
        If it is neither kind of encoder.
    InputError
        If it is to run on a device that is not there.
    """
    where = checked_device(device)
    path = Path(name).expanduser()
    if looks_local(name) and what_is(path) != "folder":
        raise ModelError(f"there is no folder of an embedder {name!r}", legal=_LEGAL)
    try:
        with without_bars():
            model, tokenizer, pictures = _load(str(path) if what_is(path) == "folder" else name)
    except Exception as error:  # readers of weights and tokenizers raise anything on broken files
        raise ModelError(
            f"cannot load the embedder {name!r}: {first_line(error)}",
            legal=_LEGAL,
            fix="check the name, the network, and that the weights are safetensors files",
        ) from error
    model.eval().to(where)
    if hasattr(model, "get_text_features"):
        return TextImageEncoder(name, model, tokenizer, pictures)
    if model.config.is_encoder_decoder:
        raise NotSupportedError(f"the embedder {name!r} has an encoder and a decoder", legal=_LEGAL)
    return SentenceEncoder(name, model, tokenizer)


def _load(name: str) -> tuple[Any, Any, Any]:
    """Return model, tokenizer, and image processor where the model embeds pictures."""
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    safely = {"trust_remote_code": False}
    model = AutoModel.from_pretrained(name, use_safetensors=True, dtype=torch.float32, **safely)
    tokenizer = AutoTokenizer.from_pretrained(name, **safely)
    sees = hasattr(model, "get_text_features") and hasattr(model, "get_image_features")
    return model, tokenizer, AutoImageProcessor.from_pretrained(name, **safely) if sees else None


class SentenceEncoder:
    """An encoder of texts: the mean of the last hidden states over the tokens of a text.

    Texts that are longer than the model allows are cut off.

    Parameters
    ----------
    name:
        What it is called in reports.
    model, tokenizer:
        Of ``transformers``: a model whose output has ``last_hidden_state``.
    """

    sees = False

    def __init__(self, name: str, model: Any, tokenizer: Any) -> None:
        self.name = name
        self._model = model
        self._tokenizer = tokenizer
        positions = getattr(model.config, "max_position_embeddings", None)
        most = tokenizer.model_max_length
        self._most = most if positions is None else min(most, positions - _SPECIAL)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token

    def texts(self, texts: Sequence[str], /) -> np.ndarray:
        """Return float32 ``[texts, width]``."""
        return np.concatenate([self._mean(batch) for batch in _batches(texts)])

    def _mean(self, texts: Sequence[str]) -> np.ndarray:
        encoded = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self._most,
            return_tensors="pt",
        ).to(self._model.device)
        with torch.inference_mode():
            states = self._model(**encoded).last_hidden_state
        kept = encoded["attention_mask"][..., None].to(states.dtype)
        return _numbers((states * kept).sum(dim=1) / kept.sum(dim=1).clamp_min(1))

    def images(self, images: Sequence[Image], /) -> np.ndarray:
        """Refuse: the model reads."""
        raise NotSupportedError(f"the embedder {self.name!r} embeds no pictures", legal="texts")


class TextImageEncoder:
    """An encoder of texts and pictures into one space, by the model's own projections.

    Texts that are longer than the model's text encoder allows are cut off; shorter ones are padded
    to that length, as SigLIP was trained and CLIP does not mind.

    Parameters
    ----------
    name:
        What it is called in reports.
    model, tokenizer:
        Of ``transformers``: a model with ``get_text_features``.
    pictures:
        The image processor of a model with ``get_image_features``; None embeds texts only.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any, pictures: Any = None) -> None:
        self.name = name
        self.sees = pictures is not None
        self._model = model
        self._tokenizer = tokenizer
        self._pictures = pictures
        self._most = min(
            tokenizer.model_max_length, model.config.text_config.max_position_embeddings
        )

    def texts(self, texts: Sequence[str], /) -> np.ndarray:
        """Return float32 ``[texts, width]``."""
        return np.concatenate([self._read(batch) for batch in _batches(texts)])

    def _read(self, texts: Sequence[str]) -> np.ndarray:
        encoded = self._tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=self._most,
            return_tensors="pt",
        ).to(self._model.device)
        with torch.inference_mode():
            return _numbers(self._model.get_text_features(**encoded))

    def images(self, images: Sequence[Image], /) -> np.ndarray:
        """Return float32 ``[images, width]``."""
        if not self.sees:
            raise NotSupportedError(f"the embedder {self.name!r} embeds no pictures", legal="texts")
        return np.concatenate([self._look(batch) for batch in _batches(images)])

    def _look(self, images: Sequence[Image]) -> np.ndarray:
        encoded = self._pictures(images=list(images), return_tensors="pt").to(self._model.device)
        with torch.inference_mode():
            return _numbers(self._model.get_image_features(**encoded))


def _batches(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(values), _BATCH):
        yield values[first : first + _BATCH]


def _numbers(found: Any) -> np.ndarray:
    """Return float32 ``[n, width]`` of features, which some versions of models wrap."""
    features = getattr(found, "pooler_output", found)
    numbers: np.ndarray = features.float().cpu().numpy()
    return numbers
