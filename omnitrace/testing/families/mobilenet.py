"""The vision tower of Gemma 3n with few blocks, under a name that ``timm`` knows.

The tower's configuration names an architecture of ``timm``, and those that it has for Gemma 3n are
of 84 blocks: seconds for each image, whatever the number of channels.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from timm.layers.norm import RmsNorm2d
from timm.models import register_model
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.mobilenetv5 import MobileNetV5Encoder

__all__ = ["omnitrace_mobilenetv5_enc"]

# The first blocks of each stage of mobilenetv5_300m_enc, with fewer heads: of a kind one or two.
_STAGES: Final = [
    ["er_r1_k3_s2_e4_c128", "er_r1_k3_s1_e4_c128"],
    ["uir_r1_a3_k5_s2_e6_c256", "uir_r1_a5_k0_s1_e4_c256"],
    ["uir_r1_a5_k5_s2_e6_c640", "mqa_r1_k3_h2_v2_s1_d16_c640", "uir_r1_a0_k0_s1_e2_c640"],
    ["uir_r1_a5_k5_s2_e6_c1280", "mqa_r1_k3_h2_s1_d16_c1280", "uir_r1_a0_k0_s1_e2_c1280"],
]


@register_model
def omnitrace_mobilenetv5_enc(
    pretrained: bool = False, channel_multiplier: float = 1.0, **_: Any
) -> MobileNetV5Encoder:
    """Make the tower, untrained."""
    return MobileNetV5Encoder(
        block_args=decode_arch_def(_STAGES),  # type: ignore[no-untyped-call]
        stem_size=8,
        fix_stem=True,
        round_chs_fn=partial(round_channels, multiplier=channel_multiplier),
        norm_layer=RmsNorm2d,
        pad_type="same",
        layer_scale_init_value=1e-5,
    )
