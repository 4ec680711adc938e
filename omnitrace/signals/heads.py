"""Attention of the heads that find the evidence, chosen for a model (``omnitrace select-heads``).

After MultAttnAttrib (arXiv 2607.01420): some heads look at what a statement rests on, most at
other things. Which ones is read from a few examples whose evidence is known, without training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from omnitrace._utils.documents import Count
from omnitrace._utils.files import read_text
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.errors import InputError
from omnitrace.signals.base import TokenSignal

if TYPE_CHECKING:
    import torch

    from omnitrace.models.base import ModelAdapter
    from omnitrace.sources.options import SourceOptions

__all__ = ["HeadSelection", "SelectedHeads", "load_heads"]

_LEGAL: Final = "a JSON file that `omnitrace select-heads` wrote"

_Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
_Heads: TypeAlias = tuple[tuple[Count, Count], ...]


class HeadSelection(BaseModel):
    """Attention heads of a model that look at the evidence.

    Attributes
    ----------
    model, fingerprint:
        What the model is called, and the digest of its family and weights.
    heads:
        ``(layer, head)``, the best one first.
    scores:
        Of each, the share of its attention to sources that is on the evidence, mean over examples.
    all_heads:
        The same share, mean over all heads of the model.
    examples:
        Whether these are sentences copied from the requests' documents, or labelled statements.
    requests, statements:
        How many there are.
    seed:
        Of the choice of sentences.
    versions, created:
        Of packages, and when.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal["omnitrace-heads"] = "omnitrace-heads"
    version: Literal[1] = 1
    model: str
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    heads: Annotated[_Heads, Field(min_length=1)]
    scores: tuple[_Share, ...]
    all_heads: _Share
    examples: Literal["copied", "labelled"]
    requests: Count
    statements: Count
    seed: Count
    versions: dict[str, str]
    created: str


class SelectedHeads(TokenSignal):
    """Mean of the attention row over the heads that were chosen for a model.

    Parameters
    ----------
    selection:
        The heads, and the model that they are of.
    """

    name = "selected-heads"

    def __init__(self, selection: HeadSelection) -> None:
        self.selection = selection
        self.parameters: Mapping[str, Any] = {
            "heads": [list(head) for head in selection.heads],
            "fingerprint": selection.fingerprint,
        }
        self._heads: dict[int, list[int]] = {}
        for layer, head in sorted(set(selection.heads)):
            self._heads.setdefault(layer, []).append(head)

    def check_model(self, adapter: ModelAdapter, sources: SourceOptions) -> None:
        """Refuse another model than the one that the heads were chosen for.

        Parameters
        ----------
        adapter, sources:
            Of the tracer.

        Raises
        ------
        InputError
            If the model's weights are other ones.
        """
        from omnitrace.ablation.cache import check_weights  # it waits for torch

        check_weights(
            adapter,
            self.selection.fingerprint,
            made="the heads were chosen",
            model=self.selection.model,
            fix="choose heads for this model: omnitrace select-heads",
        )

    def layers(self, available: Sequence[int]) -> Sequence[int]:
        """Take the layers of the chosen heads."""
        return [layer for layer in available if layer in self._heads]

    def score(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        """Average the rows of the heads; each result sums to at most 1."""
        total: torch.Tensor | None = None
        for layer in rows:
            found = layer.weights[self._heads[layer.layer]].sum(dim=0)
            total = found if total is None else total.add_(found.to(total.device))
        assert total is not None, "capture always yields at least one layer"
        return total / sum(map(len, self._heads.values()))


def load_heads(path: str | Path) -> SelectedHeads:
    """Return the signal of a file that ``omnitrace select-heads`` wrote.

    Raises
    ------
    InputError
        If the file cannot be read, or is something else.
    """
    text = read_text(Path(path), legal=_LEGAL)
    try:
        return SelectedHeads(HeadSelection.model_validate_json(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{str(path)!r}: {where}: {first['msg']}", legal=_LEGAL) from error
