"""Image regions by Ward clustering of DINOv3 features, as vSTREAM (arXiv 2604.16587) cuts them.

Importing this package loads neither torch nor transformers; cutting the first image does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitrace import hookimpl

if TYPE_CHECKING:
    from omnitrace.sources import RegisterUnitizer, Unitizer

__all__ = ["register_unitizers"]


def _dinov3(
    checkpoint: str | None = None,
    regions: int | None = None,
    explained: float = 0.9,
    resolution: int = 512,
    device: str = "cpu",
) -> Unitizer:
    from omnitrace_dinov3.unitizer import DinoV3Ward

    return DinoV3Ward(
        checkpoint=checkpoint,
        regions=regions,
        explained=explained,
        resolution=resolution,
        device=device,
    )


@hookimpl
def register_unitizers(register: RegisterUnitizer) -> None:
    """Register the unitizer under its name."""
    register(
        "dinov3",
        _dinov3,
        modalities=("image",),
        summary="16 to 128 regions alike to DINOv3, by Ward clustering (needs checkpoint=…)",
    )
