"""Tiny models of Gemma 3, 3n and 4: sliding windows, shared keys, per-layer inputs."""

from __future__ import annotations

from typing import Any, Final

import torch

from omnitrace.testing.families.parts import TEXT, build, chat_template, tokenizer

__all__ = ["gemma3", "gemma3n", "gemma4"]

_WINDOWS: Final[dict[str, Any]] = {
    "head_dim": 8,
    "sliding_window": 12,
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
}
_SOFT: Final = {
    "image_token": "<image_soft_token>",
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
}


def gemma3(*, crops: bool = False) -> tuple[Any, Any]:
    """Make Gemma 3; with ``crops`` its processor cuts wide and high images once more, finer."""
    import transformers as tf

    words = tokenizer(_SOFT)
    config = tf.Gemma3Config(
        text_config={**TEXT, **_WINDOWS, "vocab_size": len(words)},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 112,
            "patch_size": 14,
        },
        mm_tokens_per_image=16,
        boi_token_index=words.boi_token_id,
        eoi_token_index=words.eoi_token_id,
        image_token_index=words.image_token_id,
    )
    processor = tf.Gemma3Processor(
        tf.Gemma3ImageProcessor(size={"height": 112, "width": 112}),
        words,
        image_seq_length=16,
        chat_template=chat_template(image="<start_of_image>"),
    )
    if crops:
        cut = {"do_pan_and_scan": True, "pan_and_scan_min_crop_size": 16}
        processor.images_kwargs = {**processor.images_kwargs, **cut}
    model = build(tf.Gemma3ForConditionalGeneration, config)
    projection = model.model.multi_modal_projector.mm_input_projection_weight
    with torch.no_grad(), torch.random.fork_rng():  # zeros, untrained: no image would be seen
        torch.manual_seed(1)
        projection.normal_(0, 0.3)
    return model, processor


def gemma3n() -> tuple[Any, Any]:
    """Make Gemma 3n: embeddings for each layer, and layers that share keys."""
    import transformers as tf

    from omnitrace.testing.families.mobilenet import omnitrace_mobilenetv5_enc

    words = tokenizer(
        {
            **_SOFT,
            "audio_token": "<audio_soft_token>",
            "boa_token": "<start_of_audio>",
            "eoa_token": "<end_of_audio>",
        }
    )
    size = len(words)
    config = tf.Gemma3nConfig(
        text_config={
            **TEXT,
            **_WINDOWS,
            "vocab_size": size + 16,
            "vocab_size_per_layer_input": size,
            "hidden_size_per_layer_input": 8,
            "num_kv_shared_layers": 2,
            "altup_num_inputs": 2,
            "laurel_rank": 4,
            "intermediate_size": [48] * 4,
            "activation_sparsity_pattern": [0.0] * 4,
        },
        audio_config={
            "hidden_size": 32,
            "conf_num_attention_heads": 2,
            "conf_num_hidden_layers": 2,
            "sscp_conv_channel_size": (8, 4),
            "vocab_size": 8,
            "vocab_offset": size + 8,
        },
        vision_config={
            "hidden_size": 2048,
            "vocab_size": 8,
            "vocab_offset": size,
            "architecture": omnitrace_mobilenetv5_enc.__name__,
            "model_args": {"channel_multiplier": 0.05},  # of 300 M parameters
        },
        boi_token_id=words.boi_token_id,
        eoi_token_id=words.eoi_token_id,
        image_token_id=words.image_token_id,
        boa_token_id=words.boa_token_id,
        eoa_token_id=words.eoa_token_id,
        audio_token_id=words.audio_token_id,
    )
    processor = tf.Gemma3nProcessor(
        tf.Gemma3nAudioFeatureExtractor(),
        tf.SiglipImageProcessor(size={"height": 512, "width": 512}),
        words,
        chat_template=chat_template(image="<image_soft_token>", audio="<audio_soft_token>"),
    )
    model = build(tf.Gemma3nForConditionalGeneration, config, sharpen=1.0, attention=None)
    return model, processor


def gemma4() -> tuple[Any, Any]:
    """Make Gemma 4: as 3n, and image tokens that look ahead within their image."""
    import transformers as tf

    words = tokenizer(
        {
            "image_token": "<|image|>",
            "boi_token": "<|image>",
            "eoi_token": "<image|>",
            "audio_token": "<|audio|>",
            "boa_token": "<|audio>",
            "eoa_token": "<audio|>",
        },
        ["<|video|>"],
    )
    config = tf.Gemma4Config(
        text_config={
            **TEXT,
            **_WINDOWS,
            "vocab_size": len(words),
            "vocab_size_per_layer_input": len(words),
            "global_head_dim": 8,
            "hidden_size_per_layer_input": 8,
            "num_kv_shared_layers": 2,
            "use_bidirectional_attention": "vision",
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "patch_size": 16,
            "pooling_kernel_size": 3,
            "position_embedding_size": 256,
        },
        audio_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "subsampling_conv_channels": (128, 4),
            "output_proj_dims": 32,
        },
        boi_token_id=words.boi_token_id,
        eoi_token_id=words.eoi_token_id,
        image_token_id=words.image_token_id,
        video_token_id=words.convert_tokens_to_ids("<|video|>"),
        boa_token_id=words.boa_token_id,
        eoa_token_index=words.eoa_token_id,
        audio_token_id=words.audio_token_id,
    )
    processor = tf.Gemma4Processor(
        tf.Gemma4AudioFeatureExtractor(),
        tf.Gemma4ImageProcessor(max_soft_tokens=70),
        words,
        tf.Gemma4VideoProcessor(max_soft_tokens=70),
        chat_template=chat_template(image="<|image|>", video="<|video|>", audio="<|audio|>"),
    )
    model = build(tf.Gemma4ForConditionalGeneration, config, sharpen=2.0, attention=None)
    return model, processor
