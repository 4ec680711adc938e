"""Causal attention in blocks of queries, for training on CPUs.

Of the time of a training step, most went into the backward of PyTorch's attention kernel for CPUs;
plain products of bfloat16 matrices, which leave out the keys behind each block, take three fifths
of its time (88 to 58 ms for 15 rows of 400 tokens, four heads of 32, forward and backward, one core
of an AMD EPYC, 2026-11-25). That is of a CPU that multiplies bfloat16 by itself; on one that does
not, a training step in bfloat16 takes ten times as long as in float32 with PyTorch's own kernel
(11 rows of 748 tokens, 16.4 s and 1.7 s, 2026-11-29), and that is used.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

__all__ = ["causal_attention", "has_fast_bfloat16", "use_blocks"]

_NAME: Final = "omnitrace_blocks_sdpa"
_BLOCK: Final = 128


def has_fast_bfloat16() -> bool:
    """Whether products of bfloat16 matrices are faster here than those of float32."""
    return "AVX512" in torch.backends.cpu.get_cpu_capability()


def causal_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Attend from each query to its own and earlier positions; all ``[rows, heads, n, width]``."""
    length = query.shape[2]
    found: list[Tensor] = []
    for start in range(0, length, _BLOCK):
        end = min(length, start + _BLOCK)
        scores = (query[:, :, start:end] * scale) @ key[:, :, :end].transpose(2, 3)
        later = torch.ones(end - start, end, dtype=torch.bool, device=query.device).triu(start + 1)
        weights = torch.softmax(scores.masked_fill(later, float("-inf")), dim=-1)
        found.append(weights @ value[:, :, :end])
    return torch.cat(found, dim=2)


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    del module, attention_mask, dropout  # rows are padded on the right, and nothing is dropped
    half = [each.to(torch.bfloat16) for each in (query, key, value)]
    found = causal_attention(half[0], half[1], half[2], scaling)
    return found.transpose(1, 2).to(query.dtype).contiguous(), None


def use_blocks(model: Any, *, on: bool) -> None:
    """Let the text model of a Thinker attend in blocks, where they are faster, or as it did."""
    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation({"text_config": _NAME if on and has_fast_bfloat16() else "sdpa"})
