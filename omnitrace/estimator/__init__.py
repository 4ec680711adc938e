"""The learned estimator: effects in nats at the price of attention, for every modality (vSTREAM).

>>> from omnitrace.estimator import load_signal, train_estimator
>>> learned = train_estimator(tracer, requests)  # doctest: +SKIP
>>> tracer = Tracer.from_pretrained(model, signal=load_signal(learned))  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnitrace.estimator.calibration import Calibration, calibrate, conformal_quantile
    from omnitrace.estimator.collect import CollectOptions, Collector
    from omnitrace.estimator.examples import Example, HeldOut
    from omnitrace.estimator.features import FeatureRecipe, RowReducer, pooled
    from omnitrace.estimator.finished import FinishedEstimator, load_signal
    from omnitrace.estimator.fit import fit_weights
    from omnitrace.estimator.fit_options import FitOptions
    from omnitrace.estimator.signal import SHIPPED, Estimator
    from omnitrace.estimator.store import Card, Learned, load, save
    from omnitrace.estimator.train import TrainOptions, calibrated, quality, train_estimator
    from omnitrace.estimator.weights import Fitted, Network

__all__ = [
    "SHIPPED",
    "Calibration",
    "Card",
    "CollectOptions",
    "Collector",
    "Estimator",
    "Example",
    "FeatureRecipe",
    "FinishedEstimator",
    "FitOptions",
    "Fitted",
    "HeldOut",
    "Learned",
    "Network",
    "RowReducer",
    "TrainOptions",
    "calibrate",
    "calibrated",
    "conformal_quantile",
    "fit_weights",
    "load",
    "load_signal",
    "pooled",
    "quality",
    "save",
    "train_estimator",
]

# Loaded on first use: the signal is listed without torch, which training needs.
_PLACES = {
    "calibration": ("Calibration", "calibrate", "conformal_quantile"),
    "collect": ("CollectOptions", "Collector"),
    "examples": ("Example", "HeldOut"),
    "features": ("FeatureRecipe", "RowReducer", "pooled"),
    "finished": ("FinishedEstimator", "load_signal"),
    "fit": ("FitOptions", "fit_weights"),
    "signal": ("SHIPPED", "Estimator"),
    "store": ("Card", "Learned", "load", "save"),
    "train": ("TrainOptions", "calibrated", "quality", "train_estimator"),
    "weights": ("Fitted", "Network"),
}


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
