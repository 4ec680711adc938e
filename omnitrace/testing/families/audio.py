"""Tiny models that listen: Qwen2-Audio and Audio Flamingo 3."""

from __future__ import annotations

from typing import Any, Final

from omnitrace.testing.families.parts import TEXT, build, chat_template, tokenizer

__all__ = ["audio_flamingo_3", "qwen2_audio"]

_MEL: Final = {"feature_size": 128, "chunk_length": 30, "return_attention_mask": True}


def qwen2_audio() -> tuple[Any, Any]:
    """Make Qwen2-Audio."""
    import transformers as tf

    words = tokenizer(
        {
            "audio_token": "<|AUDIO|>",
            "audio_bos_token": "<|audio_bos|>",
            "audio_eos_token": "<|audio_eos|>",
        }
    )
    config = tf.Qwen2AudioConfig(
        text_config={**TEXT, "model_type": "qwen2", "vocab_size": len(words)},
        audio_config={
            "model_type": "qwen2_audio_encoder",
            "num_mel_bins": 128,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "d_model": 32,
            "max_source_positions": 1500,
        },
        audio_token_index=words.audio_token_id,
    )
    processor = tf.Qwen2AudioProcessor(
        tf.WhisperFeatureExtractor(**_MEL),
        words,
        chat_template=chat_template(audio="<|audio_bos|><|AUDIO|><|audio_eos|>"),
    )
    return build(tf.Qwen2AudioForConditionalGeneration, config), processor


def audio_flamingo_3() -> tuple[Any, Any]:
    """Make Audio Flamingo 3."""
    import transformers as tf

    words = tokenizer({"audio_token": "<sound>"})
    config = tf.AudioFlamingo3Config(
        text_config={**TEXT, "model_type": "qwen2", "vocab_size": len(words)},
        audio_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_mel_bins": 128,
            "max_source_positions": 1500,
        },
        audio_token_id=words.audio_token_id,
    )
    processor = tf.AudioFlamingo3Processor(
        tf.WhisperFeatureExtractor(**_MEL),
        words,
        chat_template=chat_template(audio="<sound>"),
        audio_token="<sound>",
    )
    return build(tf.AudioFlamingo3ForConditionalGeneration, config), processor
