"""A tiny model of Phi-4-multimodal."""

from __future__ import annotations

from typing import Any, Final

import torch

from omnitrace.testing.families.parts import TEXT, build, chat_template, tokenizer

__all__ = ["phi_4_multimodal"]

# The processor counts tokens for tiles of this size only.
_SIDE: Final = 448


def phi_4_multimodal() -> tuple[Any, Any]:
    """Make Phi-4-multimodal."""
    import transformers as tf

    words = tokenizer({"image_token": "<|endoftext10|>", "audio_token": "<|endoftext11|>"})
    config = tf.Phi4MultimodalConfig(
        **TEXT,
        vocab_size=len(words),
        bos_token_id=0,
        eos_token_id=1,
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": _SIDE,
            "crop_size": _SIDE,
            "patch_size": 14,
            "image_token_id": words.image_token_id,
            "feature_layer": -1,
        },
        audio_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_blocks": 2,
            "num_attention_heads": 2,
            "ext_pw_out_channel": 32,
            "depthwise_separable_out_channel": 32,
            "nemo_conv_channels": 32,
            "audio_token_id": words.audio_token_id,
            "feature_layer": -1,
        },
    )
    processor = tf.Phi4MultimodalProcessor(
        tf.Phi4MultimodalImageProcessor(
            size={"height": _SIDE, "width": _SIDE}, patch_size=14, dynamic_hd=6
        ),
        tf.Phi4MultimodalFeatureExtractor(),
        words,
        chat_template=chat_template(image="<|endoftext10|>", audio="<|endoftext11|>"),
    )
    model = build(tf.Phi4MultimodalForCausalLM, config)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        for name, parameter in model.named_parameters():
            if "img_processor.encoder" in name and parameter.dim() > 1:
                parameter.mul_(0.15)  # its own start, of 1, has every patch change all others
            if name.endswith("img_feature_extensor"):
                parameter.normal_()  # zeros, untrained: what ends rows and what ends the tiles
    return model, processor
