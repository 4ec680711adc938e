"""The learned estimator: effects in nats at the price of attention, for every modality (vSTREAM).

>>> from omnitrace.estimator import load_signal, train_estimator
>>> learned = train_estimator(tracer, requests)  # doctest: +SKIP
>>> tracer = Tracer.from_pretrained(model, signal=load_signal(learned))  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitrace._utils.lazy import lazy_names

if TYPE_CHECKING:
    from omnitrace.estimator.calibration import Calibration, calibrate, conformal_quantile
    from omnitrace.estimator.collect import CollectOptions, Collector
    from omnitrace.estimator.examples import Example, HeldOut
    from omnitrace.estimator.features import FeatureRecipe, RowReducer, pooled
    from omnitrace.estimator.finished import FinishedEstimator, load_signal
    from omnitrace.estimator.fit import fit_weights
    from omnitrace.estimator.fit_options import FitOptions
    from omnitrace.estimator.gather import Spread
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
    "Spread",
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

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "omnitrace.estimator.calibration": ["Calibration", "calibrate", "conformal_quantile"],
        "omnitrace.estimator.collect": ["CollectOptions", "Collector"],
        "omnitrace.estimator.examples": ["Example", "HeldOut"],
        "omnitrace.estimator.features": ["FeatureRecipe", "RowReducer", "pooled"],
        "omnitrace.estimator.finished": ["FinishedEstimator", "load_signal"],
        "omnitrace.estimator.gather": ["Spread"],
        "omnitrace.estimator.fit": ["fit_weights"],
        "omnitrace.estimator.fit_options": ["FitOptions"],
        "omnitrace.estimator.signal": ["Estimator", "SHIPPED"],
        "omnitrace.estimator.store": ["Card", "Learned", "load", "save"],
        "omnitrace.estimator.train": ["TrainOptions", "calibrated", "quality", "train_estimator"],
        "omnitrace.estimator.weights": ["Fitted", "Network"],
    },
)
