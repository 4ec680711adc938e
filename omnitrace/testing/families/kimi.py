"""A tiny model of Kimi K2.5: DeepSeek's decoder, and images padded to whole tokens."""

from __future__ import annotations

from typing import Any

from omnitrace.testing.families.parts import TEXT, build, chat_template, tokenizer

__all__ = ["kimi_k2_5"]


def kimi_k2_5() -> tuple[Any, Any]:
    """Make Kimi K2.5."""
    import transformers as tf

    words = tokenizer(
        {"image_token": "<|media_pad|>", "video_token": "<|kimi_k25_video_placeholder|>"},
        ["<|media_begin|>", "<|media_content|>", "<|media_end|>"],
    )
    config = tf.Kimi_K25Config(
        text_config={
            **TEXT,
            "model_type": "deepseek_v3",
            "vocab_size": len(words),
            "num_key_value_heads": 4,
            "moe_intermediate_size": 16,
            "n_routed_experts": 4,
            "n_shared_experts": 1,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "pos_emb_height": 8,
            "pos_emb_width": 8,
        },
        projection_hidden_size=32,
        image_token_id=words.image_token_id,
        video_token_id=words.video_token_id,
    )
    processor = tf.Kimi_K25Processor(
        tf.Kimi_K25ImageProcessor(),
        words,
        tf.Kimi_K25VideoProcessor(),
        chat_template=chat_template(
            image="<|media_begin|>image<|media_content|><|media_pad|><|media_end|>",
            video="<|kimi_k25_video_placeholder|>",
        ),
    )
    return build(tf.Kimi_K25ForConditionalGeneration, config), processor
