"""Tiny models of MiniCPM-V: an overview and slices, over a text model with linear layers."""

from __future__ import annotations

from typing import Any

from omnitrace.testing.families.parts import TEXT, build, chat_template, tokenizer

__all__ = ["minicpm_v_4_6", "minicpm_v_4_7"]


def _words() -> Any:
    return tokenizer(
        {
            "image_token": "<|image_pad|>",
            "video_token": "<|video_pad|>",
            "image_start_token": "<image>",
            "image_end_token": "</image>",
            "slice_start_token": "<slice>",
            "slice_end_token": "</slice>",
            "image_id_start_token": "<image_id>",
            "image_id_end_token": "</image_id>",
        }
    )


def _config(config_class: Any, words: Any, **markers: int) -> Any:
    text = {
        **TEXT,
        "model_type": "qwen3_5_text",
        "vocab_size": len(words),
        "head_dim": 16,
        "num_hidden_layers": 4,
        "layer_types": ["linear_attention", "full_attention"] * 2,
        "linear_num_value_heads": 4,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.5,
        },
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 112,
        "patch_size": 14,
        "insert_layer_id": 1,
    }
    return config_class(
        text_config=text,
        vision_config=vision,
        insert_layer_id=1,
        image_size=112,
        image_token_id=words.image_token_id,
        video_token_id=words.video_token_id,
        **markers,
    )


def _processor(processor_class: Any, words: Any) -> Any:
    import transformers as tf

    return processor_class(
        tf.MiniCPMV4_6ImageProcessor(scale_resolution=112, patch_size=14, max_slice_nums=4),
        tf.MiniCPMV4_6VideoProcessor(scale_resolution=112, patch_size=14),
        words,
        chat_template=chat_template(image="<|image_pad|>", video="<|video_pad|>"),
    )


def minicpm_v_4_6() -> tuple[Any, Any]:
    """Make MiniCPM-V 4.6."""
    import transformers as tf

    words = _words()
    config = _config(tf.MiniCPMV4_6Config, words)
    model = build(tf.MiniCPMV4_6ForConditionalGeneration, config, sharpen=2.0)
    return model, _processor(tf.MiniCPMV4_6Processor, words)


def minicpm_v_4_7() -> tuple[Any, Any]:
    """Make MiniCPM-V 4.7, whose model finds media by the markers around them."""
    import transformers as tf

    words = _words()
    marker = words.convert_tokens_to_ids
    config = _config(
        tf.MiniCPMV4_7Config,
        words,
        image_start_id=marker("<image>"),
        image_end_id=marker("</image>"),
        slice_start_id=marker("<slice>"),
        slice_end_id=marker("</slice>"),
        newline_id=marker("Ċ"),
    )
    model = build(tf.MiniCPMV4_7ForConditionalGeneration, config, sharpen=2.0)
    return model, _processor(tf.MiniCPMV4_7Processor, words)
