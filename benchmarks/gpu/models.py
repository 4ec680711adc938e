"""Models with the real configurations and random weights, and processors that need no hub.

The tokenizer has one token a byte, with ids below the real vocabulary's size: tokens cost what they
cost, whatever they stand for. Rows of the output layer that are no letter are zero, so that what
the model writes can be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch

from omnitrace.testing.families.parts import chat_template, tokenizer

__all__ = ["configurations", "make_model", "parameters_of"]

_FILE: Final = Path(__file__).with_name("configurations.json")
_PARTS: Final = ("text_config", "vision_config", "audio_config")
_IMAGE: Final = "<|vision_start|><|image_pad|><|vision_end|>"
_VIDEO: Final = "<|vision_start|><|video_pad|><|vision_end|>"
_AUDIO: Final = "<|audio_start|><|audio_pad|><|audio_end|>"
_WRITTEN: Final = "abcdefghijklmnopqrstuvwxyz"
#: Longest audio that the processor keeps, in seconds; it cuts what is longer.
_SECONDS: Final = 300
_PIXELS: Final = {"shortest_edge": 56 * 56, "longest_edge": 4096 * 4096}


@cache
def configurations() -> Mapping[str, Any]:
    """Return the configurations by the names of their models."""
    found: Mapping[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return found


def make_model(
    name: str, device: torch.device, dtype: torch.dtype, *, tiny: bool = False
) -> tuple[Any, Any]:
    """Make a model and its processor.

    Parameters
    ----------
    name:
        Of :func:`configurations`.
    device, dtype:
        Where the weights are made, and of which type.
    tiny:
        Whether all sizes are small.
    """
    import transformers as tf

    about = configurations()[name]
    words = _words(about["processor"])
    config = _config(about, words, tiny=tiny)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        with torch.device(device):
            model = getattr(tf, about["model"])._from_config(
                config, dtype=dtype, attn_implementation="sdpa"
            )
    model = model.eval().requires_grad_(False)
    _write_letters_only(model, words)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = words.pad_token_id
    return model, _processor(about, words)


def parameters_of(name: str) -> int:
    """Count the parameters of a model of real size, without making them."""
    import transformers as tf

    about = configurations()[name]
    with torch.device("meta"):
        model = getattr(tf, about["model"])._from_config(_config(about, _words(about["processor"])))
    return sum(parameter.numel() for parameter in model.parameters())


def _config(about: Mapping[str, Any], words: Any, *, tiny: bool = False) -> Any:
    import transformers as tf

    parts = {
        part: {**about[part], **(about["tiny"][part] if tiny else {})}
        for part in _PARTS
        if part in about
    }
    ids = {
        f"{kind}_token_id": int(words.convert_tokens_to_ids(f"<|{kind}_pad|>"))
        for kind in ("image", "video", *(["audio"] if "audio_config" in about else []))
    }
    for end in ("start", "end"):
        for kind in ("vision", *(["audio"] if "audio_config" in about else [])):
            ids[f"{kind}_{end}_token_id"] = int(words.convert_tokens_to_ids(f"<|{kind}_{end}|>"))
    if about["processor"] == "omni":
        ids |= {
            f"{kind}_token_index": ids[f"{kind}_token_id"] for kind in ("image", "video", "audio")
        }
    return getattr(tf, about["config"])(**parts, **ids, tie_word_embeddings=False)


@cache
def _words(kind: str) -> Any:
    named = {f"{each}_token": f"<|{each}_pad|>" for each in ("image", "video")}
    if kind == "omni":
        named |= {
            "audio_token": "<|audio_pad|>",
            "audio_bos_token": "<|audio_start|>",
            "audio_eos_token": "<|audio_end|>",
            "vision_bos_token": "<|vision_start|>",
            "vision_eos_token": "<|vision_end|>",
        }
    else:
        named |= {
            "vision_start_token": "<|vision_start|>",
            "vision_end_token": "<|vision_end|>",
        }
    made = tokenizer(named)
    made.model_max_length = 1 << 20
    if kind == "omni":
        made.init_kwargs["size"] = dict(_PIXELS)  # overrides the limits of the processor's class
    return made


def _processor(about: Mapping[str, Any], words: Any) -> Any:
    import transformers as tf

    images = tf.Qwen2VLImageProcessor(size=dict(_PIXELS), patch_size=about["patch"])
    if about["processor"] == "vl":
        return tf.Qwen3VLProcessor(
            images,
            words,
            tf.Qwen3VLVideoProcessor(size=dict(_PIXELS), patch_size=about["patch"]),
            chat_template=chat_template(image=_IMAGE, video=_VIDEO),
        )
    return tf.Qwen2_5OmniProcessor(
        image_processor=images,
        video_processor=tf.Qwen2VLVideoProcessor(size=dict(_PIXELS), patch_size=about["patch"]),
        feature_extractor=tf.WhisperFeatureExtractor(
            feature_size=128, chunk_length=_SECONDS, return_attention_mask=True
        ),
        tokenizer=words,
        chat_template=chat_template(image=_IMAGE, video=_VIDEO, audio=_AUDIO),
    )


def _write_letters_only(model: Any, words: Any) -> None:
    """Give all tokens but letters the same logit, which is never the largest."""
    head = model.get_output_embeddings().weight
    letters = words(_WRITTEN, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        kept = head[letters].clone()
        head.zero_()
        head[letters] = kept
