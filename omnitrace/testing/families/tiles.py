"""Tiny models that cut images into tiles or rows: InternVL, LLaVA, Idefics3, Mistral 3."""

from __future__ import annotations

from typing import Any, Final

from omnitrace.testing.families.parts import TEXT, build, chat_template, tokenizer

__all__ = ["idefics3", "internvl", "llava_onevision", "mistral3", "smolvlm"]

_SIDE: Final = 112
_VISION: Final[dict[str, Any]] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": _SIDE,
    "patch_size": 14,
}
_SQUARE: Final = {"height": _SIDE, "width": _SIDE}
_ROWS: Final = 6


def _text(words: Any, model_type: str, **more: Any) -> dict[str, Any]:
    return {**TEXT, "model_type": model_type, "vocab_size": len(words), **more}


def internvl() -> tuple[Any, Any]:
    """Make InternVL."""
    import transformers as tf

    words = tokenizer(
        {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        }
    )
    config = tf.InternVLConfig(
        text_config=_text(words, "qwen2"),
        vision_config={**_VISION, "image_size": [_SIDE] * 2, "patch_size": [14, 14]},
        image_token_id=words.context_image_token_id,
        image_seq_length=16,
    )
    processor = tf.InternVLProcessor(
        tf.GotOcr2ImageProcessor(size=_SQUARE, crop_to_patches=True, max_patches=12),
        words,
        tf.InternVLVideoProcessor(size=_SQUARE),
        image_seq_length=16,
        chat_template=chat_template(image="<IMG_CONTEXT>", video="<video>"),
    )
    return build(tf.InternVLForConditionalGeneration, config), processor


def llava_onevision() -> tuple[Any, Any]:
    """Make LLaVA-OneVision."""
    import transformers as tf

    words = tokenizer({"image_token": "<image>", "video_token": "<video>"})
    shapes = [[_SIDE * rows, _SIDE * columns] for rows in range(1, 4) for columns in range(1, 4)]
    config = tf.LlavaOnevisionConfig(
        text_config=_text(words, "qwen2"),
        vision_config={**_VISION, "model_type": "siglip_vision_model", "vision_use_head": False},
        image_grid_pinpoints=shapes,
        image_token_index=words.image_token_id,
        video_token_index=words.video_token_id,
    )
    processor = tf.LlavaOnevisionProcessor(
        tf.LlavaOnevisionImageProcessor(size=_SQUARE, image_grid_pinpoints=shapes),
        words,
        tf.LlavaOnevisionVideoProcessor(size=_SQUARE),
        num_image_tokens=64,
        vision_feature_select_strategy="full",
        chat_template=chat_template(image="<image>", video="<video>"),
    )
    return build(tf.LlavaOnevisionForConditionalGeneration, config), processor


def _marked(named: dict[str, str]) -> Any:
    tiles = [f"<row_{r + 1}_col_{c + 1}>" for r in range(_ROWS) for c in range(_ROWS)]
    markers = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"]
    return tokenizer(named, [*markers, *tiles])


def smolvlm() -> tuple[Any, Any]:
    """Make SmolVLM."""
    import transformers as tf

    words = _marked(
        {
            "image_token": "<image>",
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "end_of_utterance_token": "<end_of_utterance>",
        }
    )
    config = tf.SmolVLMConfig(
        text_config=_text(words, "llama"),
        vision_config=_VISION,
        image_token_id=words.image_token_id,
        scale_factor=2,
        pad_token_id=0,
    )
    small = {"longest_edge": _SIDE}
    processor = tf.SmolVLMProcessor(
        tf.SmolVLMImageProcessor(size={"longest_edge": 448}, max_image_size=small),
        words,
        tf.SmolVLMVideoProcessor(size=small, max_image_size=small, num_frames=8, fps=1),
        image_seq_len=16,
        chat_template=chat_template(image="<image>", video="<video>"),
    )
    return build(tf.SmolVLMForConditionalGeneration, config), processor


def idefics3() -> tuple[Any, Any]:
    """Make Idefics3."""
    import transformers as tf

    words = _marked({"image_token": "<image>"})
    config = tf.Idefics3Config(
        text_config=_text(words, "llama"),
        vision_config=_VISION,
        image_token_id=words.image_token_id,
        scale_factor=2,
        pad_token_id=0,
    )
    processor = tf.Idefics3Processor(
        tf.Idefics3ImageProcessor(
            size={"longest_edge": 448}, max_image_size={"longest_edge": _SIDE}
        ),
        words,
        image_seq_len=16,
        chat_template=chat_template(image="<image>"),
    )
    return build(tf.Idefics3ForConditionalGeneration, config), processor


def mistral3() -> tuple[Any, Any]:
    """Make Mistral 3 with Pixtral's processor."""
    import transformers as tf

    named = {
        "image_token": "[IMG]",
        "image_break_token": "[IMG_BREAK]",
        "image_end_token": "[IMG_END]",
    }
    words = tokenizer(named)
    config = tf.Mistral3Config(
        text_config=_text(words, "mistral", head_dim=8),
        vision_config={**_VISION, "model_type": "pixtral", "image_size": 448},
        image_token_index=words.image_token_id,
        spatial_merge_size=2,
    )
    processor = tf.PixtralProcessor(
        tf.PixtralImageProcessor(size={"longest_edge": 224}, patch_size=14),
        words,
        patch_size=14,
        spatial_merge_size=2,
        chat_template=chat_template(image="[IMG]"),
        **named,
    )
    return build(tf.Mistral3ForConditionalGeneration, config), processor
