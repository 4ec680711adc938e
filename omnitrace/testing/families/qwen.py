"""Tiny models of the Qwen families that see: Qwen2-VL to Qwen3.5, and the Omni models."""

from __future__ import annotations

from typing import Any, Final

from omnitrace.testing.families.parts import MROPE, PIXELS, TEXT, build, chat_template, tokenizer

__all__ = [
    "qwen2_5_omni",
    "qwen2_5_vl",
    "qwen2_vl",
    "qwen3_5",
    "qwen3_omni",
    "qwen3_vl",
    "qwen3_vl_moe",
]

_IMAGE: Final = "<|vision_start|><|image_pad|><|vision_end|>"
_VIDEO: Final = "<|vision_start|><|video_pad|><|vision_end|>"
_TEMPLATE: Final = chat_template(image=_IMAGE, video=_VIDEO)
_NAMED: Final = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
}
_OMNI: Final = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "audio_token": "<|audio_pad|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
}
_VISION_3: Final[dict[str, Any]] = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 2,
    "patch_size": 16,
    "out_hidden_size": 32,
    "num_position_embeddings": 16,
}
_DEEP: Final[dict[str, Any]] = {**_VISION_3, "deepstack_visual_indexes": [0, 1]}
_MOE: Final = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}


def _text(words: Any, **more: Any) -> dict[str, Any]:
    return {**TEXT, "vocab_size": len(words), "rope_parameters": MROPE, **more}


def _ids(words: Any) -> dict[str, int]:
    names = ("image_token", "video_token", "vision_start_token", "vision_end_token")
    return {f"{name}_id": int(getattr(words, f"{name}_id")) for name in names}


def qwen2_vl() -> tuple[Any, Any]:
    """Make Qwen2-VL."""
    import transformers as tf

    words = tokenizer(_NAMED)
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2}
    config = tf.Qwen2VLConfig(
        text_config=_text(words), vision_config={**vision, "patch_size": 14}, **_ids(words)
    )
    processor = tf.Qwen2VLProcessor(
        tf.Qwen2VLImageProcessor(size=PIXELS),
        words,
        tf.Qwen2VLVideoProcessor(size=PIXELS),
        chat_template=_TEMPLATE,
    )
    return build(tf.Qwen2VLForConditionalGeneration, config), processor


def qwen2_5_vl() -> tuple[Any, Any]:
    """Make Qwen2.5-VL."""
    import transformers as tf

    words = tokenizer(_NAMED)
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 14,
        "out_hidden_size": 32,
        "fullatt_block_indexes": [1],
    }
    config = tf.Qwen2_5_VLConfig(text_config=_text(words), vision_config=vision, **_ids(words))
    processor = tf.Qwen2_5_VLProcessor(
        tf.Qwen2VLImageProcessor(size=PIXELS),
        words,
        tf.Qwen2VLVideoProcessor(size=PIXELS),
        chat_template=_TEMPLATE,
    )
    return build(tf.Qwen2_5_VLForConditionalGeneration, config), processor


def _processor_3(words: Any) -> Any:
    import transformers as tf

    return tf.Qwen3VLProcessor(
        tf.Qwen2VLImageProcessor(size=PIXELS, patch_size=16),
        words,
        tf.Qwen3VLVideoProcessor(size=PIXELS, patch_size=16),
        chat_template=_TEMPLATE,
    )


def qwen3_vl() -> tuple[Any, Any]:
    """Make Qwen3-VL, whose early layers are given picture features a second time (DeepStack)."""
    import transformers as tf

    words = tokenizer(_NAMED)
    config = tf.Qwen3VLConfig(
        text_config=_text(words, head_dim=8), vision_config=_DEEP, **_ids(words)
    )
    return build(tf.Qwen3VLForConditionalGeneration, config), _processor_3(words)


def qwen3_vl_moe() -> tuple[Any, Any]:
    """Make Qwen3-VL with experts."""
    import transformers as tf

    words = tokenizer(_NAMED)
    config = tf.Qwen3VLMoeConfig(
        text_config=_text(words, head_dim=8, **_MOE), vision_config=_DEEP, **_ids(words)
    )
    return build(tf.Qwen3VLMoeForConditionalGeneration, config), _processor_3(words)


def qwen3_5() -> tuple[Any, Any]:
    """Make Qwen3.5, every second layer of which has linear attention."""
    import transformers as tf

    words = tokenizer(_NAMED)
    text = _text(
        words,
        head_dim=16,
        num_hidden_layers=4,
        layer_types=["linear_attention", "full_attention"] * 2,
        linear_num_value_heads=4,
        linear_num_key_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
    )
    text["rope_parameters"] = {**MROPE, "partial_rotary_factor": 0.5}
    config = tf.Qwen3_5Config(text_config=text, vision_config=_VISION_3, **_ids(words))
    model = build(tf.Qwen3_5ForConditionalGeneration, config, sharpen=2.0)
    return model, _processor_3(words)


def _omni_words() -> Any:
    words = tokenizer(_OMNI)
    # The processor's class has limits of its own, which what the tokenizer says overrides.
    words.init_kwargs["size"] = dict(PIXELS)
    return words


def _omni_ids(words: Any) -> dict[str, int]:
    marker = words.convert_tokens_to_ids
    return {
        "audio_token_id": words.audio_token_id,
        "image_token_id": words.image_token_id,
        "video_token_id": words.video_token_id,
        "audio_start_token_id": marker("<|audio_start|>"),
        "audio_end_token_id": marker("<|audio_end|>"),
        "vision_start_token_id": marker("<|vision_start|>"),
        "vision_end_token_id": marker("<|vision_end|>"),
    }


def _omni_processor(name: str, words: Any, patch_size: int) -> Any:
    import transformers as tf

    return getattr(tf, name)(
        image_processor=tf.Qwen2VLImageProcessor(size=PIXELS, patch_size=patch_size),
        video_processor=tf.Qwen2VLVideoProcessor(
            size=PIXELS, patch_size=patch_size, cap_pixels_per_frame=False
        ),
        feature_extractor=tf.WhisperFeatureExtractor(
            feature_size=128, chunk_length=30, return_attention_mask=True
        ),
        tokenizer=words,
        chat_template=chat_template(
            image=_IMAGE, video=_VIDEO, audio="<|audio_start|><|audio_pad|><|audio_end|>"
        ),
    )


def qwen2_5_omni() -> tuple[Any, Any]:
    """Make Qwen2.5-Omni's Thinker."""
    import transformers as tf

    words = _omni_words()
    config = tf.Qwen2_5OmniThinkerConfig(
        text_config=_text(words),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 14,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        },
        audio_config={
            "num_mel_bins": 128,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "d_model": 32,
            "output_dim": 32,
        },
        **{f"{k.removesuffix('_token_id')}_token_index": v for k, v in _omni_ids(words).items()},
        **_omni_ids(words),
    )
    model = build(tf.Qwen2_5OmniThinkerForConditionalGeneration, config)
    return model, _omni_processor("Qwen2_5OmniProcessor", words, 14)


def qwen3_omni() -> tuple[Any, Any]:
    """Make Qwen3-Omni's Thinker: experts, and DeepStack."""
    import transformers as tf

    words = _omni_words()
    config = tf.Qwen3OmniMoeThinkerConfig(
        text_config=_text(words, head_dim=8, **_MOE),
        vision_config=_DEEP,
        audio_config={
            "num_mel_bins": 128,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "d_model": 32,
            "n_window": 50,
            "n_window_infer": 100,
            "output_dim": 32,
            "downsample_hidden_size": 16,
        },
        **_omni_ids(words),
    )
    model = build(tf.Qwen3OmniMoeThinkerForConditionalGeneration, config)
    return model, _omni_processor("Qwen3OmniMoeProcessor", words, 16)
