"""Tiny, randomly initialised models of each family's own classes, with its own processor.

They know nothing, but they are fed, cut and attend as the checkpoints do: what can be proved of
maps, rows and gradients on them holds for the family. ``omnitrace doctor --tiny`` runs on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from omnitrace.errors import unknown_name
from omnitrace.models.processor import ProcessorAdapter
from omnitrace.testing.families import audio, gemma, glm, kimi, minicpm, phi, qwen, tiles

__all__ = ["TINY", "tiny_family"]

TINY: Final[dict[str, Callable[[], tuple[Any, Any]]]] = {
    "qwen2-vl": qwen.qwen2_vl,
    "qwen2.5-vl": qwen.qwen2_5_vl,
    "qwen3-vl": qwen.qwen3_vl,
    "qwen3-vl-moe": qwen.qwen3_vl_moe,
    "qwen3.5": qwen.qwen3_5,
    "glm-4.1v": glm.glm4v,
    "glm-4.5v": glm.glm4v_moe,
    "glm-4.6v": glm.glm46v,
    "qwen2.5-omni": qwen.qwen2_5_omni,
    "qwen3-omni": qwen.qwen3_omni,
    "qwen2-audio": audio.qwen2_audio,
    "audio-flamingo-3": audio.audio_flamingo_3,
    "gemma3": gemma.gemma3,
    "gemma3n": gemma.gemma3n,
    "gemma4": gemma.gemma4,
    "internvl": tiles.internvl,
    "llava-onevision": tiles.llava_onevision,
    "idefics3": tiles.idefics3,
    "smolvlm": tiles.smolvlm,
    "mistral3": tiles.mistral3,
    "phi-4-multimodal": phi.phi_4_multimodal,
    "kimi-k2.5": kimi.kimi_k2_5,
    "minicpm-v-4.6": minicpm.minicpm_v_4_6,
    "minicpm-v-4.7": minicpm.minicpm_v_4_7,
}
"""By the name of the family, what makes a tiny model and its processor."""


def tiny_family(name: str) -> ProcessorAdapter:
    """Make the tiny model of a family, always with the same weights.

    Raises
    ------
    PluginError
        If there is no such family.
    """
    if name not in TINY:
        raise unknown_name("family", name, TINY)
    model, processor = TINY[name]()
    return ProcessorAdapter(model, processor, source=f"tiny {name}")
