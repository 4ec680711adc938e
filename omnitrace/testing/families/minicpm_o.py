"""A tiny model with the interface of MiniCPM-o 4.5, whose own code comes with its checkpoint.

Written from what the published code takes and gives: a Qwen3 under ``llm``; a vision tower with a
resampler, whose queries each look at a whole slice; an audio encoder that sees no later second.
Its processor is in :mod:`omnitrace.testing.families.minicpm_o_processor`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import Qwen3Config, Qwen3ForCausalLM, WhisperConfig
from transformers.models.qwen3.modeling_qwen3 import Qwen3PreTrainedModel
from transformers.models.whisper.modeling_whisper import WhisperAttention
from transformers.utils.generic import ModelOutput

from omnitrace.testing.families.minicpm_o_processor import MiniCPMOProcessor, words
from omnitrace.testing.families.parts import TEXT

__all__ = ["MiniCPMO", "MiniCPMOConfig", "minicpm_o"]

_WIDTH = 32
_POOL = 5


class MiniCPMOConfig(Qwen3Config):  # type: ignore[misc]
    """The text model's configuration, and beside it what the towers need."""

    model_type = "minicpmo"

    def __init__(
        self,
        query_num: int = 8,
        audio_pool_step: int = _POOL,
        audio_chunk_length: float = 1.0,
        stream_input: bool = True,
        patch_size: int = 14,
        init_tts: bool = True,
        **kwargs: Any,
    ) -> None:
        self.query_num = query_num
        self.audio_pool_step = audio_pool_step
        self.audio_chunk_length = audio_chunk_length
        self.stream_input = stream_input
        self.patch_size = patch_size
        self.init_tts = init_tts
        super().__init__(**kwargs)


def _places(sizes: torch.Tensor, longest: int) -> torch.Tensor:
    """Return where the patches of each slice lie in it: ``[slices, longest, 2]``, 0 to 1."""
    found = torch.zeros(len(sizes), longest, 2)
    for number, (rows, columns) in enumerate(sizes.tolist()):
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        found[number, : rows * columns, 0] = (y.flatten() + 0.5) / rows
        found[number, : rows * columns, 1] = (x.flatten() + 0.5) / columns
    return found


class _Attention(nn.Module):
    """Attention of queries to keys, with a residual from the queries."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(
        self, queries: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the queries with what they have seen; ``mask`` is added to the logits."""
        seen = nn.functional.scaled_dot_product_attention(
            self.query(queries), self.key(keys), self.value(keys), attn_mask=mask
        )
        found: torch.Tensor = queries + self.out(seen)
        return found


class _Vision(nn.Module):
    """The vision tower: patches of slices, each of which sees those of its slice."""

    def __init__(self, patch: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, _WIDTH, patch, patch)
        self.place = nn.Linear(2, _WIDTH)
        self.attention = _Attention(_WIDTH)

    def forward(
        self,
        pixel_values: torch.Tensor,
        patch_attention_mask: torch.Tensor,
        tgt_sizes: torch.Tensor,
    ) -> ModelOutput:
        """Return ``last_hidden_state``, ``[slices, patches, width]``."""
        states = self.patches(pixel_values).flatten(2).transpose(1, 2)
        states = states + self.place(_places(tgt_sizes, states.shape[1]).to(states))
        mask = torch.zeros_like(patch_attention_mask, dtype=states.dtype)
        mask.masked_fill_(~patch_attention_mask, -torch.inf)
        return ModelOutput(last_hidden_state=self.attention(states, states, mask))


class _Resampler(nn.Module):
    """Queries that each look at a whole slice, and a table of places that is not saved."""

    pos_embed: torch.Tensor

    def __init__(self, queries: int, width: int) -> None:
        super().__init__()
        self.register_buffer(
            "pos_embed", torch.arange(2.0 * _WIDTH).reshape(2, -1).sin(), persistent=False
        )
        self.query = nn.Parameter(torch.randn(queries, _WIDTH))
        self.attention = _Attention(_WIDTH)
        self.projection = nn.Linear(_WIDTH, width)

    def forward(self, states: torch.Tensor, tgt_sizes: torch.Tensor) -> torch.Tensor:
        """Return ``[slices, queries, width of the text model]``."""
        used = tgt_sizes.prod(dim=-1)[:, None].to(states.device)
        free = torch.arange(states.shape[1], device=states.device)[None] >= used
        mask = torch.zeros(free.shape, dtype=states.dtype, device=states.device)
        mask = mask.masked_fill(free, -torch.inf)[:, None]
        states = states + _places(tgt_sizes, states.shape[1]).to(states) @ self.pos_embed
        queries = self.query.expand(len(states), -1, -1)
        found: torch.Tensor = self.projection(self.attention(queries, states, mask))
        return found


class _AudioLayer(nn.Module):
    """A layer as ``transformers`` 4 had it: its attention returns a cache as a third value."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.self_attn = WhisperAttention(
            config.d_model, config.encoder_attention_heads, config=config
        )

    def forward(
        self, states: torch.Tensor, attention_mask: torch.Tensor, layer_head_mask: None = None
    ) -> torch.Tensor:
        """Return the states with what they have heard."""
        heard, _, _ = self.self_attn(
            hidden_states=states, attention_mask=attention_mask, layer_head_mask=layer_head_mask
        )
        found: torch.Tensor = states + heard
        return found


class _Audio(nn.Module):
    """The audio encoder: 100 frames of the spectrogram a second become 50 states."""

    def __init__(self) -> None:
        super().__init__()
        config = WhisperConfig(d_model=_WIDTH, encoder_attention_heads=2)
        config._attn_implementation = "sdpa"
        self.conv1 = nn.Conv1d(80, _WIDTH, 3, padding=1)
        self.conv2 = nn.Conv1d(_WIDTH, _WIDTH, 3, 2, padding=1)
        self.embed_positions = nn.Embedding(1500, _WIDTH)
        self.layers = nn.ModuleList([_AudioLayer(config)])

    def forward(
        self, features: torch.Tensor, output_hidden_states: bool, attention_mask: torch.Tensor
    ) -> ModelOutput:
        """Return ``hidden_states`` of every layer, ``[audio, states, width]``."""
        states = nn.functional.gelu(self.conv1(features))
        states = nn.functional.gelu(self.conv2(states)).transpose(1, 2)
        every = [states + self.embed_positions.weight[: states.shape[1]]]
        for layer in self.layers:
            every.append(layer(every[-1], attention_mask))
        return ModelOutput(last_hidden_state=every[-1], hidden_states=tuple(every))


class MiniCPMO(Qwen3PreTrainedModel):  # type: ignore[misc]
    """The model: ``llm`` writes from the embeddings that the methods below make."""

    config_class = MiniCPMOConfig

    def __init__(self, config: MiniCPMOConfig) -> None:
        super().__init__(config)
        self.llm = Qwen3ForCausalLM(config)
        self.vpm = _Vision(config.patch_size)
        self.embed_dim, self.vision_dim = config.hidden_size, _WIDTH
        self.resampler = self.init_resampler(self.embed_dim, self.vision_dim)
        self.apm = _Audio()
        self.audio_avg_pooler = nn.AvgPool1d(config.audio_pool_step, config.audio_pool_step)
        self.audio_projection_layer = nn.Linear(_WIDTH, config.hidden_size)
        self.terminators = ["<|im_end|>", "<|endoftext|>"]

    def init_resampler(self, embed_dim: int, vision_dim: int) -> _Resampler:
        """Make the resampler."""
        return _Resampler(self.config.query_num, embed_dim)

    def get_input_embeddings(self) -> Any:
        """Return the token embeddings."""
        return self.llm.get_input_embeddings()

    def get_vision_embedding(self, data: Mapping[str, Any]) -> list[Any]:
        """Return for each prompt ``[slices, queries, width]``, or an empty list."""
        counts = [len(slices) for slices in data["pixel_values"]]
        patches = [
            each.flatten(end_dim=1).transpose(0, 1) for s in data["pixel_values"] for each in s
        ]
        if not patches:
            return [[] for _ in counts]
        sizes = torch.vstack([each for each in data["tgt_sizes"] if isinstance(each, torch.Tensor)])
        padded = nn.utils.rnn.pad_sequence(patches, batch_first=True).transpose(1, 2)
        pixels = padded.reshape(len(padded), 3, self.config.patch_size, -1)
        pixels = pixels.to(self.llm.model.embed_tokens.weight)
        longest = int(sizes.prod(dim=-1).max())
        used = torch.arange(longest)[None, None] < sizes.prod(dim=-1).cpu()[:, None, None]
        states = self.vpm(
            pixels, patch_attention_mask=used.to(pixels.device), tgt_sizes=sizes
        ).last_hidden_state
        found = iter(torch.split(self.resampler(states, sizes), [n for n in counts if n]))
        return [next(found) if count else [] for count in counts]

    def get_vllm_embedding(self, data: Mapping[str, Any]) -> tuple[torch.Tensor, list[Any]]:
        """Return the embeddings of ids and images, and those of the images alone."""
        embeddings = self.llm.model.embed_tokens(data["input_ids"])
        seen = self.get_vision_embedding(data)
        for row, (queries, bounds) in enumerate(zip(seen, data["image_bound"], strict=True)):
            for slice_queries, (start, end) in zip(queries, bounds.tolist(), strict=True):
                embeddings[row, start:end] = slice_queries.to(embeddings.dtype)
        return embeddings, seen

    def get_audio_embedding(
        self, data: Mapping[str, Any], chunk_length: float = -1, dummy: bool = True
    ) -> list[list[torch.Tensor]]:
        """Return for each prompt the embeddings of each of its pieces of audio."""
        features, lengths = data["audio_features"], data["audio_feature_lens"]
        if not len(features):
            return []
        count = (features.shape[-1] - 1) // 2 + 1
        place = torch.arange(count, device=features.device)
        ahead = place[None] >= torch.hstack(list(lengths))[:, None]
        hidden = ahead[:, None, None, :].expand(-1, 1, count, count)
        if chunk_length > 0:
            chunk = place // int(chunk_length * 50)
            hidden = hidden | (chunk[None, :] > chunk[:, None])
        mask = torch.zeros(hidden.shape, device=features.device, dtype=self.apm.conv1.weight.dtype)
        mask = mask.masked_fill(hidden, -torch.inf)
        states = self.apm(
            features.to(mask.dtype), output_hidden_states=True, attention_mask=mask
        ).hidden_states[-1]
        pooled = self.audio_avg_pooler(self.audio_projection_layer(states).transpose(1, 2))
        pieces = iter(pooled.transpose(1, 2))
        step = self.config.audio_pool_step
        return [
            [next(pieces)[: ((int(length) - 1) // 2 + 1) // step] for length in own]
            for own in lengths
        ]

    def get_omni_embedding(
        self,
        data: Mapping[str, Any],
        input_embeddings: torch.Tensor,
        chunk_length: float = -1,
        stream_input: bool = False,
    ) -> torch.Tensor:
        """Return the embeddings with those of the audio in their places."""
        heard = self.get_audio_embedding(data, chunk_length)
        for row, (pieces, bounds) in enumerate(zip(heard, data["audio_bounds"], strict=False)):
            if self.config.stream_input:
                lengths = [end - start for start, end in bounds.tolist()]
                pieces = list(torch.split(torch.cat(pieces)[: sum(lengths)], lengths))
            for piece, (start, end) in zip(pieces, bounds.tolist(), strict=False):
                input_embeddings[row, start:end] = piece.to(input_embeddings.dtype)
        return input_embeddings

    @torch.inference_mode()
    def generate(
        self,
        input_ids: torch.Tensor,
        pixel_values: Sequence[Any],
        tgt_sizes: Sequence[Any],
        audio_features: Any,
        audio_feature_lens: Any,
        image_bound: Sequence[torch.Tensor],
        audio_bounds: Sequence[torch.Tensor],
        spk_bounds: Sequence[torch.Tensor],
        attention_mask: torch.Tensor,
        tokenizer: Any,
        **kwargs: Any,
    ) -> tuple[list[str], Any]:
        """Return the texts that ``llm`` writes, and what its ``generate`` gave."""
        data = {
            "input_ids": input_ids,
            "pixel_values": pixel_values,
            "tgt_sizes": tgt_sizes,
            "image_bound": image_bound,
            "audio_features": audio_features,
            "audio_feature_lens": audio_feature_lens,
            "audio_bounds": audio_bounds,
        }
        embeddings, _ = self.get_vllm_embedding(data)
        embeddings = self.get_omni_embedding(
            data, embeddings, chunk_length=self.config.audio_chunk_length
        )
        outputs = self.llm.generate(
            inputs_embeds=embeddings,
            pad_token_id=0,
            eos_token_id=[tokenizer.convert_tokens_to_ids(each) for each in self.terminators],
            attention_mask=attention_mask,
            return_dict_in_generate=True,
            **kwargs,
        )
        return [tokenizer.decode(row) for row in outputs.sequences], outputs


def minicpm_o(**options: Any) -> tuple[MiniCPMO, MiniCPMOProcessor]:
    """Make the tiny model, always with the same weights; ``options`` of its configuration."""
    tokenizer = words()
    config = MiniCPMOConfig(**{**TEXT, "vocab_size": len(tokenizer), "head_dim": 8, **options})
    config._attn_implementation = "sdpa"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MiniCPMO(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.dim() > 1:
                    nn.init.normal_(parameter, std=0.2)
                if "q_proj" in name or "k_proj" in name:
                    parameter.mul_(3)
            for conv in (model.apm.conv1, model.apm.conv2):  # a random one looks to one side
                conv.weight.copy_((conv.weight + conv.weight.flip(2)) / 2)
    return model.eval(), MiniCPMOProcessor.of(tokenizer, config)
