"""MiniCPM-o with the interface of ``transformers``' own models: media go in with the prompt's ids.

The checkpoint's code makes the embeddings of a prompt and hands them to ``llm.generate``, so that
neither ids nor media ever meet in one ``forward``. Here they do, by the checkpoint's own methods,
and everything that drives other models drives this one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

import torch
from transformers import GenerationMixin
from transformers.models.qwen3.modeling_qwen3 import Qwen3PreTrainedModel

from omnitrace.capture.cache_argument import cache_argument, given_cache
from omnitrace.errors import NotSupportedError
from omnitrace.models.minicpm_o_code import as_in_version_4

__all__ = ["PromptedMiniCPMO", "packed", "prompted"]

_MEDIA: Final = (
    "pixel_values",
    "tgt_sizes",
    "image_bound",
    "audio_features",
    "audio_feature_lens",
    "audio_bounds",
)


def packed(output: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return what the processor gives for one prompt as tensors, the media that there are.

    Slices of all sizes stand one after another: their patches are columns, ``patch_size`` wide, and
    ``tgt_sizes`` says how many each slice has.
    """
    slices = list(output["pixel_values"][0])
    found: dict[str, torch.Tensor] = {}
    if slices:
        found["pixel_values"] = torch.cat([torch.as_tensor(each) for each in slices], dim=-1)[None]
        found["tgt_sizes"] = torch.as_tensor(output["tgt_sizes"][0])[None]
        found["image_bound"] = torch.as_tensor(output["image_bound"][0])[None]
    if len(output["audio_features"]):
        found["audio_features"] = torch.as_tensor(output["audio_features"])
        found["audio_feature_lens"] = torch.as_tensor(output["audio_feature_lens"][0])[None]
        found["audio_bounds"] = torch.as_tensor(output["audio_bounds"][0])[None]
    return found


def _unpacked(input_ids: torch.Tensor, media: Mapping[str, torch.Tensor | None]) -> dict[str, Any]:
    """Return what the checkpoint's methods take: what the processor gave."""
    pixels, sizes, bounds = (media[name] for name in _MEDIA[:3])
    features, lengths, audio_bounds = (media[name] for name in _MEDIA[3:])
    none = torch.zeros((0, 2), dtype=torch.long)
    data: dict[str, Any] = {
        "input_ids": input_ids,
        "pixel_values": [[]],
        "tgt_sizes": [[]],
        "image_bound": [none],
        "audio_features": [] if features is None else features,
        "audio_feature_lens": [] if lengths is None else list(lengths),
        "audio_bounds": [none] if audio_bounds is None else list(audio_bounds),
        "spk_bounds": [none],
    }
    if pixels is not None and sizes is not None and bounds is not None:
        patch = pixels.shape[2]
        widths = (sizes[0].prod(dim=-1) * patch).tolist()
        data["pixel_values"] = [list(torch.split(pixels[0], widths, dim=-1))]
        data["tgt_sizes"], data["image_bound"] = list(sizes), list(bounds)
    return data


class PromptedMiniCPMO(Qwen3PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """Runs a checkpoint of MiniCPM-o as it runs itself, from ids and media.

    Parameters
    ----------
    checkpoint:
        The loaded ``MiniCPMO``; its ``llm`` writes, and is not changed.
    tokenizer:
        Knows the tokens that end a response, which the checkpoint names.
    """

    def __init__(self, checkpoint: Any, tokenizer: Any) -> None:
        super().__init__(checkpoint.config)
        self.checkpoint = checkpoint
        self.generation_config = copy.deepcopy(checkpoint.llm.generation_config)
        self.generation_config.pad_token_id = 0
        self.generation_config.eos_token_id = [
            tokenizer.convert_tokens_to_ids(each) for each in checkpoint.terminators
        ]
        self.training = checkpoint.training

    def get_decoder(self) -> Any:
        """Return the text decoder."""
        return self.checkpoint.llm.model

    def get_input_embeddings(self) -> Any:
        """Return the token embeddings of the text model."""
        return self.checkpoint.llm.get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        """Return the head of the text model."""
        return self.checkpoint.llm.get_output_embeddings()

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        pixel_values: torch.Tensor | None = None,
        tgt_sizes: torch.Tensor | None = None,
        image_bound: torch.Tensor | None = None,
        audio_features: torch.Tensor | None = None,
        audio_feature_lens: torch.Tensor | None = None,
        audio_bounds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run the text model; the media, as :func:`packed`, are read with the prompt."""
        given = (
            pixel_values,
            tgt_sizes,
            image_bound,
            audio_features,
            audio_feature_lens,
            audio_bounds,
        )
        cache = given_cache(
            {"past_key_values": past_key_values, "cache": kwargs.pop("cache", None)}
        )
        read = cache is not None and cache.get_seq_length() > 0
        if input_ids is not None and not read and any(each is not None for each in given):
            inputs_embeds = self._embedded(input_ids, dict(zip(_MEDIA, given, strict=True)))
            input_ids = None
        return self.checkpoint.llm(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **{cache_argument(self.checkpoint.llm): cache},
            **kwargs,
        )

    def _embedded(
        self, input_ids: torch.Tensor, media: Mapping[str, torch.Tensor | None]
    ) -> torch.Tensor:
        """Return the embeddings of ids and media, as the checkpoint makes them."""
        data = _unpacked(input_ids, media)
        bounds = torch.cat([each.cpu() for each in [*data["image_bound"], *data["audio_bounds"]]])
        if int(bounds.max()) > input_ids.shape[1]:
            raise NotSupportedError(
                f"the prompt is read in pieces, the first of {input_ids.shape[1]} tokens, and its "
                f"media reach to token {int(bounds.max())}",
                fix="leave out prefill_chunk_size",
            )
        with torch.no_grad():  # it writes media over the embeddings of their placeholders
            embeddings, _ = self.checkpoint.get_vllm_embedding(data)
            if len(data["audio_features"]):
                with as_in_version_4(self.checkpoint.apm):
                    embeddings = self.checkpoint.get_omni_embedding(
                        data,
                        input_embeddings=embeddings,
                        chunk_length=self.config.audio_chunk_length,
                    )
        found: torch.Tensor = embeddings
        return found


# One for each checkpoint, so that all who drive it share its lock.
_PROMPTED: Final = WeakValueDictionary[int, PromptedMiniCPMO]()


def prompted(checkpoint: Any, tokenizer: Any) -> PromptedMiniCPMO:
    """Return what drives a checkpoint, always the same."""
    found = _PROMPTED.get(id(checkpoint))
    if found is None:
        found = _PROMPTED[id(checkpoint)] = PromptedMiniCPMO(checkpoint, tokenizer)
    return found
