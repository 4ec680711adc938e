"""The families of models with a processor: one entry each, for loading, docs, doctor and tests.

To add a family whose processor cuts media in a known way, add an entry here and a tiny model of
it in :mod:`omnitrace.testing.families`.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from packaging.version import Version

from omnitrace.models.places import images, times
from omnitrace.models.places.base import Place
from omnitrace.models.places.unknown import whole_medium
from omnitrace.types import Modality

__all__ = ["FAMILIES", "Family", "family_of", "place_of"]


@dataclass(frozen=True, slots=True)
class Family:
    """A family of models.

    Attributes
    ----------
    name, title:
        What it is called in commands, and in texts.
    configs:
        Names of its configuration classes in ``transformers``.
    processors:
        Names of its processor classes.
    places:
        By modality, the rule for where tokens lie in a medium. Its modalities are these and text.
    checkpoints:
        Some checkpoints of the family on the hub.
    model_class:
        The class to load where it is not the one that ``AutoModelForMultimodalLM`` chooses.
    not_together:
        Modalities that a request cannot have together, with the reason.
    one_each:
        Modalities of which a request can have one medium only.
    since:
        The version of ``transformers`` that a modality needs, where an older one fails at it.
    """

    name: str
    title: str
    configs: tuple[str, ...]
    processors: tuple[str, ...]
    places: Mapping[Modality, Place]
    checkpoints: tuple[str, ...] = ()
    model_class: str = ""
    not_together: Mapping[tuple[Modality, ...], str] = field(
        default_factory=lambda: MappingProxyType({})
    )
    one_each: tuple[Modality, ...] = ()
    since: Mapping[Modality, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What it takes, text first; not what the installed ``transformers`` fails at."""
        return "text", *(kind for kind in self.places if not self.needs(kind))

    def needs(self, modality: Modality) -> str:
        """Return the version of ``transformers`` that a modality needs; empty if it is there."""
        wanted = self.since.get(modality, "")
        installed = Version(importlib.metadata.version("transformers"))
        return wanted if wanted and installed < Version(wanted) else ""


_GRID: Final[Mapping[Modality, Place]] = {"image": images.grid, "video": times.steps}
_SLICES: Final[Mapping[Modality, Place]] = {
    "image": images.overview_and_slices,
    "video": times.frames,
}
_ONE_KIND: Final[Mapping[tuple[Modality, ...], str]] = {
    ("image", "video"): "frames of videos and images have the same placeholder",
}
_40_MS: Final = times.every(40)
_WHISPER: Final = times.every(40, one_window=True)

FAMILIES: Final[tuple[Family, ...]] = (
    Family(
        "qwen2-vl",
        "Qwen2-VL",
        ("Qwen2VLConfig",),
        ("Qwen2VLProcessor",),
        _GRID,
        ("Qwen/Qwen2-VL-7B-Instruct",),
    ),
    Family(
        "qwen2.5-vl",
        "Qwen2.5-VL",
        ("Qwen2_5_VLConfig",),
        ("Qwen2_5_VLProcessor",),
        _GRID,
        (
            "Qwen/Qwen2.5-VL-7B-Instruct",
            "XiaomiMiMo/MiMo-VL-7B-RL",
            "nvidia/Cosmos-Reason1-7B",
        ),
    ),
    Family(
        "qwen3-vl",
        "Qwen3-VL",
        ("Qwen3VLConfig",),
        ("Qwen3VLProcessor",),
        _GRID,
        ("Qwen/Qwen3-VL-8B-Thinking", "Qwen/Qwen3-VL-8B-Instruct"),
    ),
    Family(
        "qwen3-vl-moe",
        "Qwen3-VL-MoE",
        ("Qwen3VLMoeConfig",),
        (),  # that of Qwen3-VL
        _GRID,
        ("Qwen/Qwen3-VL-30B-A3B-Thinking",),
    ),
    Family(
        "qwen3.5",
        "Qwen3.5",
        ("Qwen3_5Config", "Qwen3_5MoeConfig"),
        (),  # that of Qwen3-VL
        _GRID,
        ("Qwen/Qwen3.5-27B",),
    ),
    Family(
        "glm-4.1v",
        "GLM-4.1V",
        ("Glm4vConfig",),
        ("Glm4vProcessor",),
        _GRID,
        ("zai-org/GLM-4.1V-9B-Thinking",),
        not_together=_ONE_KIND,
    ),
    Family(
        "glm-4.5v",
        "GLM-4.5V",
        ("Glm4vMoeConfig",),
        (),  # that of GLM-4.1V
        _GRID,
        ("zai-org/GLM-4.5V",),
        not_together=_ONE_KIND,
    ),
    Family(
        "glm-4.6v",
        "GLM-4.6V",
        ("Glm46VConfig",),
        ("Glm46VProcessor",),
        _GRID,
        ("zai-org/GLM-4.6V-Flash",),
        not_together=_ONE_KIND,
    ),
    Family(
        "qwen2.5-omni",
        "Qwen2.5-Omni",
        ("Qwen2_5OmniConfig", "Qwen2_5OmniThinkerConfig"),
        ("Qwen2_5OmniProcessor",),
        {**_GRID, "audio": _WHISPER},
        ("Qwen/Qwen2.5-Omni-7B", "Qwen/Qwen2.5-Omni-3B"),
        "Qwen2_5OmniThinkerForConditionalGeneration",
    ),
    Family(
        "qwen3-omni",
        "Qwen3-Omni",
        ("Qwen3OmniMoeConfig", "Qwen3OmniMoeThinkerConfig"),
        ("Qwen3OmniMoeProcessor",),
        {**_GRID, "audio": times.every(80, chunk=1000, of=13, early=40)},
        ("Qwen/Qwen3-Omni-30B-A3B-Thinking", "Qwen/Qwen3-Omni-30B-A3B-Instruct"),
        "Qwen3OmniMoeThinkerForConditionalGeneration",
    ),
    Family(
        "qwen2-audio",
        "Qwen2-Audio",
        ("Qwen2AudioConfig",),
        ("Qwen2AudioProcessor",),
        {"audio": _WHISPER},
        ("Qwen/Qwen2-Audio-7B-Instruct",),
    ),
    Family(
        "audio-flamingo-3",
        "Audio Flamingo 3",
        ("AudioFlamingo3Config",),
        ("AudioFlamingo3Processor",),
        {"audio": _40_MS},
        ("nvidia/audio-flamingo-3-hf",),
        "AudioFlamingo3ForConditionalGeneration",
        one_each=("audio",),
    ),
    Family(
        "gemma3",
        "Gemma 3",
        ("Gemma3Config",),
        ("Gemma3Processor",),
        {"image": images.square},
        ("google/gemma-3-4b-it",),
    ),
    Family(
        "gemma3n",
        "Gemma 3n",
        ("Gemma3nConfig",),
        ("Gemma3nProcessor",),
        {"image": images.square_ahead, "audio": times.every(160, early=40)},
        ("google/gemma-3n-E4B-it",),
    ),
    Family(
        "gemma4",
        "Gemma 4",
        ("Gemma4Config",),
        ("Gemma4Processor",),
        {"image": images.pooled, "video": times.frames, "audio": times.every(40, early=20)},
        ("google/gemma-4-E2B-it",),
    ),
    Family(
        "internvl",
        "InternVL",
        ("InternVLConfig",),
        ("InternVLProcessor",),
        {"image": images.tiles_and_thumbnail, "video": times.frames},
        ("OpenGVLab/InternVL3-1B-hf",),
    ),
    Family(
        "llava-onevision",
        "LLaVA-OneVision",
        ("LlavaOnevisionConfig",),
        ("LlavaOnevisionProcessor",),
        {"image": images.base_and_rows, "video": times.frames_but_last},
        ("llava-hf/llava-onevision-qwen2-7b-ov-hf",),
    ),
    Family(
        "idefics3",
        "Idefics3",
        ("Idefics3Config",),
        ("Idefics3Processor",),
        {"image": images.marked_tiles},
        ("HuggingFaceM4/Idefics3-8B-Llama3",),
    ),
    Family(
        "smolvlm",
        "SmolVLM",
        ("SmolVLMConfig",),
        ("SmolVLMProcessor",),
        {"image": images.marked_tiles},
        ("HuggingFaceTB/SmolVLM2-2.2B-Instruct",),
    ),
    Family(
        "mistral3",
        "Mistral 3 and Pixtral",
        ("Mistral3Config",),
        ("PixtralProcessor",),
        {"image": images.rows_with_breaks},
        ("mistralai/Mistral-Small-3.1-24B-Instruct-2503", "mistral-community/pixtral-12b"),
    ),
    Family(
        "phi-4-multimodal",
        "Phi-4-multimodal",
        ("Phi4MultimodalConfig",),
        ("Phi4MultimodalProcessor",),
        {"image": images.rows_then_overview, "audio": times.every(80)},
        ("microsoft/Phi-4-multimodal-instruct",),
        "Phi4MultimodalForCausalLM",
    ),
    Family(
        "kimi-k2.5",
        "Kimi K2.5",
        ("Kimi_K25Config",),
        ("Kimi_K25Processor",),
        {"image": images.padded_grid, "video": times.chunks},
        ("moonshotai/Kimi-K2.5",),
        since={"video": "5.24"},  # older ones split the features of several frames wrongly
    ),
    Family(
        "minicpm-v-4.6",
        "MiniCPM-V 4.6",
        ("MiniCPMV4_6Config",),
        ("MiniCPMV4_6Processor",),
        _SLICES,
        ("openbmb/MiniCPM-V-4.6",),
    ),
    Family(
        "minicpm-v-4.7",
        "MiniCPM-V 4.7",
        ("MiniCPMV4_7Config",),
        ("MiniCPMV4_7Processor",),
        _SLICES,
        ("openbmb/MiniCPM-V-4.7-1B",),
    ),
)
"""All families with a processor that Omnitrace knows, by kin."""


def family_of(config: Any) -> Family | None:
    """Return the family of a model's configuration, or None."""
    names = [ancestor.__name__ for ancestor in type(config).__mro__]
    for name in names:
        for family in FAMILIES:
            if name in family.configs:
                return family
    return None


def place_of(processor: Any, modality: str) -> Place:
    """Return the rule that a processor's media follow; of an unknown one, that of whole media."""
    for ancestor in type(processor).__mro__:
        for family in FAMILIES:
            if ancestor.__name__ in family.processors:
                found = {str(kind): place for kind, place in family.places.items()}
                return found.get(modality, whole_medium)
    return whole_medium
