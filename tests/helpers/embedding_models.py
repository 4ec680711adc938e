"""Tiny encoders of real classes, with random weights and real tokenizers, in folders."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
)

from tests.helpers.sample_traces import ANSWER, LOG

WORDS = sorted({word.strip(".,:?!") for word in f"{LOG} {ANSWER}".lower().split()})
POSITIONS = 24


def _word_tokenizer() -> PreTrainedTokenizerFast:
    """Words of the sample trace, between two special tokens."""
    vocabulary = {
        piece: i for i, piece in enumerate(["<pad>", "<s>", "</s>", "<unk>", *WORDS, ".", ","])
    }
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
    )


def sentence_encoder(folder: Path, kind: str) -> Path:
    """Write a tiny BERT, or an MPNet, whose positions begin after that of its padding."""
    torch.manual_seed(0)
    tokenizer = _word_tokenizer()
    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": POSITIONS,
    }
    model = (
        BertModel(BertConfig(pad_token_id=0, **sizes))
        if kind == "bert"
        else MPNetModel(MPNetConfig(pad_token_id=0, **sizes))
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def clip(folder: Path) -> Path:
    """Write a tiny CLIP with its processor; its tokens are letters."""
    torch.manual_seed(0)
    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {piece: i for i, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[])
    small: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "projection_dim": 12,
    }
    end = vocabulary["<|endoftext|>"]
    text = {
        **small,
        "vocab_size": len(vocabulary),
        "max_position_embeddings": 48,
        "bos_token_id": vocabulary["<|startoftext|>"],
        "eos_token_id": end,
        "pad_token_id": end,
    }
    vision = {**small, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    CLIPModel(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)
    CLIPProcessor(image_processor=pictures, tokenizer=tokenizer).save_pretrained(folder)
    return folder
