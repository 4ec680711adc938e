"""A tiny model of MiniCPM-V 4.6: an overview and slices, over a text model with linear layers."""

from __future__ import annotations

from typing import Any

from omnitrace.testing.families.parts import TEXT, build, chat_template, tokenizer

__all__ = ["minicpm_v"]


def minicpm_v() -> tuple[Any, Any]:
    """Make MiniCPM-V 4.6."""
    import transformers as tf

    words = tokenizer(
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
    rope = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
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
        "rope_parameters": rope,
    }
    config = tf.MiniCPMV4_6Config(
        text_config=text,
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": 112,
            "patch_size": 14,
            "insert_layer_id": 1,
        },
        insert_layer_id=1,
        image_size=112,
        image_token_id=words.image_token_id,
        video_token_id=words.video_token_id,
    )
    processor = tf.MiniCPMV4_6Processor(
        tf.MiniCPMV4_6ImageProcessor(scale_resolution=112, patch_size=14, max_slice_nums=4),
        tf.MiniCPMV4_6VideoProcessor(scale_resolution=112, patch_size=14),
        words,
        chat_template=chat_template(image="<|image_pad|>", video="<|video_pad|>"),
    )
    return build(tf.MiniCPMV4_6ForConditionalGeneration, config, sharpen=2.0), processor
