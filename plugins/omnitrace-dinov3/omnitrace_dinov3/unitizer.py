"""Ward regions of DINOv3 features, brought to the grid of the traced model's own vision tokens."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from omnitrace import InputError, ModelError
from omnitrace.sources import FeatureSource, LoadedImage, Ward

if TYPE_CHECKING:
    from omnitrace.sources import GridTokens

__all__ = ["DinoV3Ward"]

_MODEL_TYPE = "dinov3_vit"


@dataclass(frozen=True)
class DinoV3Ward(Ward):
    """Regions whose tokens look alike to a DINOv3 vision transformer, by Ward clustering.

    The image is fed at a size of a whole number of patches for each merged vision token of the
    traced model, and the features of a token's patches are averaged; the clustering, and the number
    of regions, are those of Omnitrace's own ``ward``.

    Parameters
    ----------
    regions, explained:
        As for :class:`omnitrace.sources.Ward`.
    checkpoint:
        A hub id or a folder that ``transformers`` loads, with weights and image processor.
    resolution:
        About how many pixels the longer side is fed with; never fewer than one patch a token.
    device:
        Where the model is moved, if it is loaded by ``checkpoint``.
    model, processor:
        Instead of a checkpoint: a ``DINOv3ViTModel`` and its image processor.

    Raises
    ------
    InputError
        If there is neither a checkpoint nor a model, or there are both.
    """

    checkpoint: str | None = None
    resolution: int = 512
    device: str = "cpu"
    model: Any = field(default=None, repr=False, compare=False)
    processor: Any = field(default=None, repr=False, compare=False)
    _loaded: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    name: ClassVar[str] = "dinov3"

    def __post_init__(self) -> None:
        super().__post_init__()
        pair = (self.model is None, self.processor is None)
        if (self.checkpoint is None) == all(pair) or pair[0] != pair[1]:
            raise InputError(
                "the unitizer 'dinov3' has "
                + ("no model" if self.checkpoint is None and all(pair) else "half a model, or two"),
                legal="a checkpoint, or a model and its image processor",
                fix="say 'dinov3:checkpoint=FOLDER', or DinoV3Ward(model=…, processor=…)",
            )
        whole = isinstance(self.resolution, int) and not isinstance(self.resolution, bool)
        if not whole or self.resolution < 1:
            raise InputError(
                f"resolution of the unitizer 'dinov3' is {self.resolution!r}",
                legal="a number of pixels, e.g. 512",
            )

    def cut(self, tokens: GridTokens, features: FeatureSource) -> np.ndarray:
        """Return int ``[tokens]``: the region of each merged vision token.

        Raises
        ------
        ModelError
            If the checkpoint cannot be loaded or is no DINOv3 vision transformer.
        """
        return super().cut(tokens, self.features)

    def features(self, tokens: GridTokens) -> np.ndarray:
        """Return float32 ``[tokens, hidden size]``: the mean over the patches in each token."""
        import torch
        from torch.nn.functional import adaptive_avg_pool2d

        model, processor = self._model()
        media = tokens.part.media
        assert isinstance(media, LoadedImage)
        patch = int(model.config.patch_size)
        each = max(1, round(self.resolution / (patch * max(tokens.rows, tokens.columns))))
        size = {"height": patch * each * tokens.rows, "width": patch * each * tokens.columns}
        shown = media.pixels
        if tokens.canvas is not None:  # padded, or cut, to what the tokens show
            shown = shown.crop(tuple(round(each) for each in tokens.canvas))
        pixels = processor(
            images=shown,
            size=size,
            do_resize=True,
            do_center_crop=False,
            return_tensors="pt",
        )["pixel_values"]
        high, wide = pixels.shape[-2] // patch, pixels.shape[-1] // patch
        with torch.no_grad(), _evaluating(model):
            states = model(pixel_values=pixels.to(model.device)).last_hidden_state[0]
        # Before the patches come the class token and the registers.
        found = states[1 + model.config.num_register_tokens :].float().cpu()
        found = found.reshape(high, wide, -1).permute(2, 0, 1)
        # With a whole number of patches for each token this is their mean.
        merged = adaptive_avg_pool2d(found, (tokens.rows, tokens.columns))
        features: np.ndarray = merged.flatten(1).T.contiguous().numpy()
        if not np.isfinite(features).all():
            raise ModelError("DINOv3 gives features that are not finite", fix="load it in float32")
        return features

    def _model(self) -> tuple[Any, Any]:
        if not self._loaded:
            model, processor = self.model, self.processor
            if self.checkpoint is not None:
                model, processor = _load(self.checkpoint, self.device)
            kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
            if kind != _MODEL_TYPE:
                raise ModelError(
                    f"the model of the unitizer 'dinov3' is of the type {kind!r}",
                    legal=f"{_MODEL_TYPE!r}: DINOv3 with a vision transformer, e.g. "
                    "facebook/dinov3-vits16-pretrain-lvd1689m",
                )
            self._loaded.update(model=model, processor=processor)
        return self._loaded["model"], self._loaded["processor"]


def _load(checkpoint: str, device: str) -> tuple[Any, Any]:
    from transformers import AutoImageProcessor, AutoModel

    try:
        processor = AutoImageProcessor.from_pretrained(checkpoint)
        return AutoModel.from_pretrained(checkpoint).eval().to(device), processor
    except Exception as error:  # readers of weights raise anything on broken files
        first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ModelError(
            f"cannot load the DINOv3 checkpoint {checkpoint!r}: {first}",
            legal="a hub id, or a folder with config.json, model.safetensors and "
            "preprocessor_config.json",
        ) from error


@contextlib.contextmanager
def _evaluating(model: Any) -> Any:
    """Switch drop path off, also in a model that the user trains."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()
