"""The reference model's parts, untrained: tokenizer, processor, configuration, model.

All of them are the classes of Qwen2.5-Omni, only smaller. Vocabulary, chat template, patch and mel
layout are made here; nothing is downloaded.
"""

from __future__ import annotations

import json
from typing import Any, Final

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    Qwen2_5OmniProcessor,
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    WhisperFeatureExtractor,
)

from omnitrace.reference.words import world_words
from omnitrace.segmentation.thinking import Thinking

__all__ = [
    "CHAT_TEMPLATE",
    "SPECIAL_TOKENS",
    "build_config",
    "build_generation_config",
    "build_model",
    "build_processor",
    "build_tokenizer",
]

# The same layout as the official template of Qwen2.5-Omni, without its default system message.
CHAT_TEMPLATE: Final = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' or 'image' in part or 'image_url' in part -%}"
    "{{- '<|vision_bos|><|IMAGE|><|vision_eos|>' -}}"
    "{%- elif part['type'] == 'audio' or 'audio' in part or 'audio_url' in part -%}"
    "{{- '<|audio_bos|><|AUDIO|><|audio_eos|>' -}}"
    "{%- elif part['type'] == 'video' or 'video' in part -%}"
    "{{- '<|vision_bos|><|VIDEO|><|vision_eos|>' -}}"
    "{%- elif 'text' in part -%}{{- part['text'] -}}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)

# Named as the official processor asks for them, in the order of their ids after the vocabulary.
SPECIAL_TOKENS: Final[dict[str, str]] = {
    "audio_token": "<|AUDIO|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
    "image_token": "<|IMAGE|>",
    "video_token": "<|VIDEO|>",
}

CONTEXT_LENGTH: Final = 4096
PIXELS: Final = {"shortest_edge": 56 * 56, "longest_edge": 224 * 224}
AUDIO_SECONDS: Final = 90
FRAMES_PER_SECOND: Final = 2


def build_tokenizer(*, thinking: bool = False) -> Any:
    """Build Qwen's tokenizer class over all bytes, with one token for every word of the world.

    With ``thinking``, the words of several steps too, and the markers of a thought: as in Qwen3's
    tokenizers added tokens that are not special, so that decoded text shows them.
    """
    empty = Qwen2Tokenizer()._tokenizer
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.NFC()
    trained.pre_tokenizer = empty.pre_tokenizer
    forms: list[str] = []
    for word in world_words(thinking=thinking):
        for form in sorted({word, word.capitalize()} if word.islower() else {word}):
            forms += [form, " " + form]
    trainer = trainers.BpeTrainer(
        vocab_size=100_000,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    trained.train_from_iterator(forms, trainer)
    state = _model_state(trained)
    tokenizer = Qwen2Tokenizer(
        vocab=state["vocab"],
        merges=[tuple(merge) for merge in state["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        model_max_length=CONTEXT_LENGTH,
        clean_up_tokenization_spaces=False,
        # The processor's class has its own limits for video frames (at least 128 tokens a second),
        # which override the video processor's; what the tokenizer says overrides those.
        size=dict(PIXELS),
        extra_special_tokens={"im_start_token": "<|im_start|>", **SPECIAL_TOKENS},
    )
    if thinking:
        markers = Thinking()
        tokenizer.add_tokens(
            [AddedToken(m, normalized=False) for m in (markers.opening, markers.closing)]
        )
    return tokenizer


def _model_state(tokenizer: Tokenizer) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return state


def build_processor(tokenizer: Any | None = None) -> Any:
    """Build the official processor around the tokenizer, with limits that suit a small model."""
    return Qwen2_5OmniProcessor(
        image_processor=Qwen2VLImageProcessor(
            patch_size=14,
            temporal_patch_size=2,
            merge_size=2,
            size=dict(PIXELS),
        ),
        video_processor=Qwen2VLVideoProcessor(
            patch_size=14,
            temporal_patch_size=2,
            merge_size=2,
            min_frames=2,
            max_frames=2 * AUDIO_SECONDS,
            fps=FRAMES_PER_SECOND,
            size=dict(PIXELS),
            cap_pixels_per_frame=False,
        ),
        feature_extractor=WhisperFeatureExtractor(
            feature_size=128,
            sampling_rate=16_000,
            hop_length=160,
            n_fft=400,
            chunk_length=AUDIO_SECONDS,
            return_attention_mask=True,
        ),
        tokenizer=tokenizer or build_tokenizer(),
        chat_template=CHAT_TEMPLATE,
    )


def build_config(tokenizer: Any) -> Any:
    """Describe the model: width 128, five layers, towers of width 96 with three layers.

    The audio tower looks at four seconds at a time (``n_window``), the vision tower at 112 pixels
    and, in its middle layer, at the whole picture: a spoken digit or an item of an image is larger
    than a token. That each token says what it shows itself, and nothing else, is taught
    (:mod:`omnitrace.reference.training.towers`): the known evidence stays where it is.
    """

    def id_of(token: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(token))

    return Qwen2_5OmniThinkerConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": CONTEXT_LENGTH,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1000.0,
                # Cycled over time, height and width, so that each has fast and slow waves.
                "mrope_section": [2, 1, 1, 2, 1, 1, 2, 1, 1, 2, 1, 1],
            },
            "pad_token_id": id_of("<|endoftext|>"),
            "eos_token_id": id_of("<|im_end|>"),
        },
        vision_config={
            "depth": 3,
            "hidden_size": 96,
            "intermediate_size": 192,
            "num_heads": 4,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [1],
            "out_hidden_size": 128,
        },
        audio_config={
            "num_mel_bins": 128,
            "encoder_layers": 3,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 192,
            "d_model": 96,
            "n_window": 200,
            "max_source_positions": 1500,
            "output_dim": 128,
        },
        audio_token_index=id_of("<|AUDIO|>"),
        image_token_index=id_of("<|IMAGE|>"),
        video_token_index=id_of("<|VIDEO|>"),
        audio_start_token_id=id_of("<|audio_bos|>"),
        audio_end_token_id=id_of("<|audio_eos|>"),
        vision_start_token_id=id_of("<|vision_bos|>"),
        vision_end_token_id=id_of("<|vision_eos|>"),
        user_token_id=id_of("user"),
        pad_token_id=id_of("<|endoftext|>"),
        eos_token_id=id_of("<|im_end|>"),
        tie_word_embeddings=True,
    )


def build_generation_config(tokenizer: Any) -> Any:
    """Greedy decoding that stops at the end of the turn."""
    end = int(tokenizer.convert_tokens_to_ids("<|im_end|>"))
    pad = int(tokenizer.convert_tokens_to_ids("<|endoftext|>"))
    return GenerationConfig(
        do_sample=False, eos_token_id=[end, pad], pad_token_id=pad, max_new_tokens=256
    )


def build_model(tokenizer: Any, seed: int = 0) -> Any:
    """Make the model with seeded random weights, in float32."""
    import torch

    torch.manual_seed(seed)
    model = Qwen2_5OmniThinkerForConditionalGeneration(build_config(tokenizer))
    model.generation_config = build_generation_config(tokenizer)
    return model
