"""The signal ``estimator``: effects in nats, predicted from attention while the model writes.

What it shares with an estimator that waits for the end of the response (:mod:`.finished`) is
:class:`Trained`: the file, what it was trained for, and the way from features to nats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from omnitrace.capture.layer_rows import LayerRows
from omnitrace.errors import InputError
from omnitrace.estimator.features import FeatureRecipe, RowReducer, pooled
from omnitrace.estimator.store import Learned, ModelFacts, load, sources_record
from omnitrace.signals.base import LiveSpanSignal, Need
from omnitrace.sources.unitizers.base import spelled
from omnitrace.types import Effect, SourceUnit

if TYPE_CHECKING:
    import torch

    from omnitrace.models.base import ModelAdapter
    from omnitrace.sources.options import SourceOptions

__all__ = ["SHIPPED", "Estimator", "Trained"]

SHIPPED: Final = Path(__file__).parents[1] / "reference" / "assets" / "estimator.safetensors"
"""The estimator of the reference model, where the package has one."""

# Options that say which parts are sources, and not how a source is cut.
_WHICH: Final = frozenset({"system", "history"})


class Trained:
    """An estimator for one model and one way to cut sources, read from a file or as it is.

    Parameters
    ----------
    path:
        A file of ``omnitrace estimator train``, or an estimator that is loaded, in a signal or by
        itself; None for that of the reference model in the package.

    Attributes
    ----------
    parameters:
        What a trace records of it.

    Raises
    ------
    InputError
        If the file is no estimator.
    """

    name = "estimator"

    def __init__(self, path: str | Path | Learned | Trained | None = None) -> None:
        self._learned: Learned | None = None
        parameters: dict[str, Any] = {}
        if isinstance(path, Trained):
            self._learned = path._learned
            parameters |= path.parameters
        elif isinstance(path, Learned):
            self._learned = path
        elif path is not None or SHIPPED.is_file():
            self._learned = load(SHIPPED if path is None else path)
            parameters["path"] = "" if path is None else str(path)
        if self._learned is not None and self._learned.sha256 is not None:
            parameters["sha256"] = self._learned.sha256
        self.parameters: Mapping[str, Any] = parameters

    @property
    def recipe(self) -> FeatureRecipe:
        """How its features are made; the default one's where there is no estimator."""
        return FeatureRecipe() if self._learned is None else self._learned.card.recipe

    @property
    def learned(self) -> Learned:
        """The estimator; raises InputError where there is none."""
        if self._learned is None:
            raise InputError(
                "the signal 'estimator' has no file",
                legal="Estimator(path) with a file of `omnitrace estimator train`",
                fix="train one for your model: omnitrace estimator train --model M --requests "
                "R.jsonl --out E",
            )
        return self._learned

    def check_model(self, adapter: ModelAdapter, sources: SourceOptions) -> None:
        """Refuse another model, or units that are cut in another way, than it was trained for.

        Parameters
        ----------
        adapter, sources:
            Of the tracer.

        Raises
        ------
        InputError
            If the model's layers or heads, its weights, or an option of the unitizer differ.
        """
        from omnitrace.ablation.cache import check_weights

        card = self.learned.card
        _check_shapes(adapter, card.model)
        check_weights(
            adapter,
            card.model.fingerprint,
            made="the estimator was trained",
            model=card.model.name,
            fix="train one for this model: omnitrace estimator train",
        )
        cut = sources_record(sources)
        for name in sorted((card.sources.keys() | cut.keys()) - _WHICH):
            wanted, found = (spelled(each.get(name)) for each in (card.sources, cut))
            if wanted != found:
                raise InputError(
                    f"the estimator was trained on units cut with {name}={wanted!r}, and the "
                    f"tracer cuts with {name}={found!r}",
                    legal=f"SourceOptions({name}={wanted!r})",
                    fix="cut alike, or train another estimator",
                )

    def in_nats(
        self, features: np.ndarray, tokens: int, units: Sequence[SourceUnit]
    ) -> dict[str, Effect]:
        """Return each unit's effect on a span in nats, with its interval where there is one.

        None is returned of a span of which an estimator of verified effects says that it has no
        source.

        Parameters
        ----------
        features:
            float32 ``[features, units]`` of the span.
        tokens:
            Its number of tokens.
        units:
            All units of the request, in the layout's order.
        """
        learned, count = self.learned, float(tokens)
        modalities = [unit.modality for unit in units]
        scores = learned.fitted.scores(features, modalities)
        effects = learned.calibration.effects(scores, count)
        if effects.max(initial=0.0) < learned.calibration.least:
            return {}
        if learned.calibration.quantile is None:
            return {u.id: Effect(float(e)) for u, e in zip(units, effects, strict=True)}
        spreads = learned.fitted.spreads(features, modalities)
        margins = learned.calibration.margins(spreads, count)
        assert margins is not None, "there is a quantile"
        return {
            unit.id: Effect(float(effect), float(effect - margin), float(effect + margin))
            for unit, effect, margin in zip(units, effects, margins, strict=True)
        }


class Estimator(Trained, LiveSpanSignal):
    """The effect of each unit on a span, by an estimator that was trained for the model (vSTREAM).

    A weighted sum of the attention of each layer's heads, calibrated to nats on held-out examples,
    with an interval where these were enough for one (Kang et al. 2026, arXiv 2604.16587;
    :mod:`omnitrace.estimator.fit`).

    Parameters
    ----------
    path:
        As for :class:`Trained`.

    Raises
    ------
    InputError
        If the file is no estimator, or one that needs the finished response.
    """

    def __init__(self, path: str | Path | Learned | Trained | None = None) -> None:
        super().__init__(path)
        if self.recipe.mask_gradient:
            raise InputError(
                "the estimator uses the gradient of a mask, which takes a finished response, and "
                "Estimator gives effects while the model writes",
                legal="an estimator that was trained without mask_gradient",
                fix="use FinishedEstimator, or load_signal(path), which takes either",
            )
        self.needs: frozenset[Need] = self.recipe.needs

    def layers(self, available: Sequence[int]) -> Sequence[int]:
        """Return the layers it was trained on.

        Raises
        ------
        InputError
            If the model has other ones.
        """
        wanted = list(self.learned.card.model.layers)
        if not set(wanted) <= set(available):
            missing = sorted(set(wanted) - set(available))
            raise InputError(
                f"the estimator reads the layers {wanted}, and the model has no layer {missing[0]} "
                "with softmax attention",
                legal=f"an estimator for layers out of {list(available)}",
            )
        return wanted

    def reducer(
        self, units: Sequence[Sequence[int]]
    ) -> Callable[[Iterable[LayerRows]], torch.Tensor]:
        """Return what reduces a response, block by block, to attention on each unit.

        It returns float32 ``[rows, features, units]``, and raises InputError if a layer has another
        number of heads than the estimator was trained on.
        """
        learned = self.learned
        reduce = RowReducer(units, learned.card.recipe)

        def checked(rows: Iterable[LayerRows]) -> torch.Tensor:
            reduced = reduce(rows)
            if reduced.shape[1] != learned.features:
                model = learned.card.model
                raise InputError(
                    f"the model shows {reduced.shape[1]} features",
                    legal=f"{learned.features}: {len(model.layers)} layers of {model.heads} heads, "
                    f"{learned.card.recipe.per_head} features each"
                    f"{', and one more' if learned.card.recipe.beside else ''}",
                    fix="use an estimator that was trained for this model",
                )
            return reduced

        return checked

    def reduce(self, rows: Iterable[LayerRows], units: Sequence[Sequence[int]]) -> torch.Tensor:
        """Reduce the first block of a response; see :meth:`reducer`."""
        return self.reducer(units)(rows)

    def effects_of(self, reduced: torch.Tensor, units: Sequence[SourceUnit]) -> dict[str, Effect]:
        """Return each unit's effect on the span in nats, with its interval where there is one."""
        if not units:
            return {}
        return self.in_nats(pooled(reduced, self.recipe), len(reduced), units)


def _check_shapes(adapter: ModelAdapter, model: ModelFacts) -> None:
    """Refuse a model of other layers or heads, as far as its configuration states them."""
    config = adapter.model.config.get_text_config(decoder=True)
    layers = getattr(config, "num_hidden_layers", None)
    heads = getattr(config, "num_attention_heads", None)
    if (layers is not None and layers <= max(model.layers)) or heads not in (None, model.heads):
        raise InputError(
            f"{adapter.source!r} has {layers} layers of {heads} heads",
            legal=f"layers up to {max(model.layers)} of {model.heads} heads each, as of the model "
            f"{model.name!r} that the estimator was trained for",
            fix="train one for this model: omnitrace estimator train",
        )
