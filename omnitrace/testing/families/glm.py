"""Tiny models of GLM-4.1V, GLM-4.5V and GLM-4.6V."""

from __future__ import annotations

from typing import Any, Final

from omnitrace.testing.families.parts import MROPE, TEXT, build, chat_template, tokenizer

__all__ = ["glm4v", "glm46v"]

_MARKERS: Final = [
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
]
_TEMPLATE: Final = chat_template(
    image="<|begin_of_image|><|image|><|end_of_image|>",
    video="<|begin_of_video|><|video|><|end_of_video|>",
)
_VISION: Final[dict[str, Any]] = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 2,
    "patch_size": 14,
    "out_hidden_size": 32,
    "image_size": 56,
}
_PIXELS: Final = {"shortest_edge": 4 * 28 * 28, "longest_edge": 224 * 224 * 2}


def _words() -> Any:
    return tokenizer({"image_token": "<|image|>", "video_token": "<|video|>"}, _MARKERS)


def _text(words: Any, **more: Any) -> dict[str, Any]:
    rope = {**MROPE, "partial_rotary_factor": 1.0}
    return {**TEXT, "vocab_size": len(words), "rope_parameters": rope, **more}


def _ids(words: Any) -> dict[str, int]:
    names = ("image_start", "image_end", "video_start", "video_end")
    found = {
        f"{name}_token_id": words.convert_tokens_to_ids(marker)
        for name, marker in zip(names, _MARKERS, strict=True)
    }
    return {
        **found,
        "image_token_id": words.image_token_id,
        "video_token_id": words.video_token_id,
    }


def _processor(words: Any) -> Any:
    import transformers as tf

    return tf.Glm4vProcessor(
        tf.Glm4vImageProcessor(size=_PIXELS),
        words,
        tf.Glm4vVideoProcessor(size=_PIXELS),
        chat_template=_TEMPLATE,
    )


def glm4v() -> tuple[Any, Any]:
    """Make GLM-4.1V."""
    import transformers as tf

    words = _words()
    config = tf.Glm4vConfig(text_config=_text(words), vision_config=_VISION, **_ids(words))
    return build(tf.Glm4vForConditionalGeneration, config), _processor(words)


def glm4v_moe() -> tuple[Any, Any]:
    """Make GLM-4.5V: GLM-4.1V with experts."""
    import transformers as tf

    words = _words()
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    config = tf.Glm4vMoeConfig(
        text_config=_text(words, head_dim=8, **experts), vision_config=_VISION, **_ids(words)
    )
    return build(tf.Glm4vMoeForConditionalGeneration, config), _processor(words)


def glm46v() -> tuple[Any, Any]:
    """Make GLM-4.6V."""
    import transformers as tf

    words = _words()
    config = tf.Glm46VConfig(
        text_config=_text(words, model_type="glm4v_text"),
        vision_config={**_VISION, "model_type": "glm4v_vision"},
        **_ids(words),
    )
    processor = tf.Glm46VProcessor(
        tf.Glm46VImageProcessor(size=_PIXELS),
        words,
        tf.Glm46VVideoProcessor(size=_PIXELS),
        chat_template=_TEMPLATE,
    )
    return build(tf.Glm46VForConditionalGeneration, config), processor
