"""SLIC superpixels of the image itself, by scikit-image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import PIL.Image

from omnitrace.errors import NotSupportedError
from omnitrace.media import LoadedImage
from omnitrace.sources.unitizers.base import (
    FeatureSource,
    ImageUnitizer,
    check_count,
    check_positive,
)

if TYPE_CHECKING:
    from omnitrace.sources.token_map import GridTokens

__all__ = ["Slic"]


@dataclass(frozen=True)
class Slic(ImageUnitizer):
    """Superpixels (Achanta et al. 2012) of the image's colours, one pixel for each vision token.

    The image is averaged over each token's cell; scikit-image's SLIC then groups the cells by
    colour and place. It sees no features of the model and needs no pass of it.

    Parameters
    ----------
    regions:
        About how many regions: SLIC takes it as a wish. None asks for one in 16 tokens, at least 16
        and at most 128.
    compactness:
        How much place counts against colour; larger regions are squarer.
    """

    regions: int | None = None
    compactness: float = 10.0

    name: ClassVar[str] = "slic"

    def __post_init__(self) -> None:
        check_count(self.name, self.regions, "regions")
        check_positive(self.name, self.compactness, "compactness")

    def cut(self, tokens: GridTokens, features: FeatureSource) -> np.ndarray:
        """Return int ``[tokens]``: the superpixel of each merged vision token.

        Raises
        ------
        NotSupportedError
            If scikit-image is not installed.
        """
        try:
            from skimage.segmentation import slic
        except ImportError:
            raise NotSupportedError(
                "the unitizer 'slic' needs the package scikit-image, which is not installed",
                legal="'ward', 'grid' and 'whole' without it",
                fix="pip install scikit-image",
            ) from None
        media = tokens.part.media
        assert isinstance(media, LoadedImage)
        count = tokens.rows * tokens.columns
        wanted = self.regions or min(max(16, count // 16), 128)
        if wanted >= count:
            return np.arange(count)
        # Pillow's box filter averages over exactly the cells, also where they cut a pixel.
        small = PIL.Image.new("RGB", (tokens.columns, tokens.rows))
        for cell in range(count):
            mean = media.pixels.resize((1, 1), PIL.Image.Resampling.BOX, box=tokens.cell(cell))
            small.paste(mean, (cell % tokens.columns, cell // tokens.columns))
        labels: np.ndarray = slic(
            np.asarray(small),
            n_segments=wanted,
            compactness=self.compactness,
            start_label=0,
            channel_axis=-1,
        )
        return labels.reshape(-1)
