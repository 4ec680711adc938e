"""A decoder that puts media in their places by itself is seen, not scored without its media."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import transformers as tf

from omnitrace import Tracer
from omnitrace.errors import NotSupportedError
from omnitrace.models.processor import ProcessorAdapter
from omnitrace.testing.families.parts import TEXT, build, chat_template, tokenizer


def phi_4() -> ProcessorAdapter:
    """Make Phi-4-multimodal, small; its processor is one that no family describes."""
    words = tokenizer({"image_token": "<|endoftext10|>", "audio_token": "<|endoftext11|>"})
    small: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
    side = 448  # its processor counts tokens for tiles of this size only
    config = tf.Phi4MultimodalConfig(
        **TEXT,
        vocab_size=len(words),
        bos_token_id=0,
        eos_token_id=1,
        vision_config={
            **small,
            "num_hidden_layers": 2,
            "image_size": side,
            "crop_size": side,
            "patch_size": 14,
            "image_token_id": words.image_token_id,
            "feature_layer": -1,
        },
        audio_config={
            **small,
            "num_blocks": 2,
            "ext_pw_out_channel": 32,
            "depthwise_separable_out_channel": 32,
            "nemo_conv_channels": 32,
            "audio_token_id": words.audio_token_id,
            "feature_layer": -1,
        },
    )
    processor = tf.Phi4MultimodalProcessor(
        tf.Phi4MultimodalImageProcessor(
            size={"height": side, "width": side}, patch_size=14, dynamic_hd=2
        ),
        tf.Phi4MultimodalFeatureExtractor(),
        words,
        chat_template=chat_template(image="<|endoftext10|>", audio="<|endoftext11|>"),
    )
    return ProcessorAdapter(build(tf.Phi4MultimodalForCausalLM, config), processor)


@pytest.mark.filterwarnings("ignore:omnitrace knows no map")
def test_units_are_not_ablated_where_nothing_shows_the_media() -> None:
    pixels = np.zeros((90, 120, 3), np.uint8)
    content = [{"type": "image", "image": pixels}, {"type": "text", "text": "What?"}]
    messages = [{"role": "user", "content": content}]
    tracer = Tracer(adapter=phi_4())
    with pytest.warns(RuntimeWarning, match="puts the media in their places by itself"):
        trace = tracer.trace(messages, max_new_tokens=2)
    assert [unit.modality for unit in trace.units] == ["image"]
    assert trace.spans[0].verdict is None
    with pytest.raises(NotSupportedError, match="puts the media in their places by itself"):
        tracer.scorer(messages, trace.token_ids)
