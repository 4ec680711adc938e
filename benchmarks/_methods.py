"""Attribution methods behind one interface: one score for each sentence and span.

Ours are here, those of other packages in ``_peers``.
"""

from __future__ import annotations

import abc
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
from _cache import code_digest
from _cost import Meter
from _examples import Example, Subject, package_code

from omnitrace import Tracer
from omnitrace.ablation import leave_one_out
from omnitrace.plugins.manager import registry
from omnitrace.signals.base import TokenSignal
from omnitrace.spans.effects import measured_effects

__all__ = [
    "Attribution",
    "Method",
    "SpanSignalMethod",
    "TokenSignalMethod",
    "metered",
    "own_methods",
]

_FOLDER: Final = Path(__file__).parent
_HERE: Final = code_digest(*(_FOLDER / f"_{name}.py" for name in ("cost", "examples", "methods")))
_CAPTUM_PLUGIN: Final = _FOLDER.parent / "plugins" / "omnitrace-captum"


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """What a method says of one example.

    ``scores`` are float64 ``[S, K]``; ``fitted``, bool ``[m, K]``, the masks of this example that
    it ablated to find them.
    """

    scores: np.ndarray
    fitted: np.ndarray

    @classmethod
    def unablated(cls, scores: np.ndarray) -> Attribution:
        """Return what a method says that ablates nothing."""
        return cls(scores, np.zeros((0, scores.shape[1]), dtype=bool))


class Method(abc.ABC):
    """Scores the sentences of an example for each span of the answer.

    Attributes
    ----------
    name:
        As the table names it.
    group:
        ``"signal"`` for ours, ``"peer"`` for those of other packages.
    learns:
        Whether it must be fitted on training examples.
    """

    name: str
    group: ClassVar[Literal["signal", "peer"]] = "signal"
    learns: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def key(self) -> dict[str, Any]:
        """What its scores depend on beside the example and the model, JSON-ready."""

    @abc.abstractmethod
    def attribute(self, subject: Subject, example: Example) -> Attribution:
        """Score one example."""

    def prepare(self, subject: Subject) -> None:  # noqa: B027 (most need nothing)
        """Do what is done once for all examples, and costs none of them anything."""

    def fit(self, subject: Subject, examples: Sequence[Example]) -> dict[str, Any]:
        """Fit the method on training examples; what it returns is kept, and given to ``use``."""
        raise NotImplementedError(f"{self.name} learns nothing")

    def use(self, fitted: dict[str, Any]) -> None:
        """Take what :meth:`fit` returned."""
        raise NotImplementedError(f"{self.name} learns nothing")


@dataclass
class TokenSignalMethod(Method):
    """A signal of the registry; a span's score is the sum over its tokens and the unit's."""

    name: str
    _tracer: Tracer | None = field(default=None, init=False, repr=False)

    @property
    def key(self) -> dict[str, Any]:
        """The library, as it is."""
        return {"signal": self.name, "code": package_code()}

    def prepare(self, subject: Subject) -> None:
        """Make a tracer, which tries out how the model can be captured."""
        if self._tracer is None or self._tracer.adapter is not subject.tracer.adapter:
            self._tracer = Tracer(adapter=subject.tracer.adapter, signal=self.name)

    def attribute(self, subject: Subject, example: Example) -> Attribution:
        """Replay the answer."""
        assert self._tracer is not None
        trace = self._tracer.replay(example.text.messages, list(example.trace.token_ids))
        return Attribution.unablated(example.summed(trace.unit_scores()))


class SpanSignalMethod(Method):
    """A span signal that takes each unit away once."""

    def __init__(self, name: str, signal: Any, *sources: Path) -> None:
        self.name = name
        self._signal = signal
        self._sources = sources

    @property
    def key(self) -> dict[str, Any]:
        """The library and the plugin, as they are."""
        said = {"signal": self.name, "parameters": dict(self._signal.parameters)}
        return said | {"code": [package_code(), code_digest(*self._sources)]}

    def attribute(self, subject: Subject, example: Example) -> Attribution:
        """Ask for the effects."""
        scorer = subject.scorer(example)
        effects = measured_effects(self._signal, scorer, example.spans)
        ids = [unit.id for unit in example.trace.units]
        scores = [[said[i].value if i in said else 0.0 for i in ids] for said in effects]
        return Attribution(np.array(scores), leave_one_out(len(ids)))


def own_methods() -> list[Method]:
    """Every token signal that the package registers, and feature ablation of the captum plugin."""
    found: list[Method] = []
    for entry in registry().signals.values():
        if entry.package == "omnitrace" and isinstance(entry.make(), TokenSignal):
            found.append(TokenSignalMethod(entry.name))
    sys.path.append(str(_CAPTUM_PLUGIN))  # where it is not installed
    from omnitrace_captum.perturbation import CaptumFeatureAblation

    found.append(
        SpanSignalMethod("captum-feature-ablation", CaptumFeatureAblation(), _CAPTUM_PLUGIN)
    )
    return found


def metered(method: Method, subject: Subject, example: Example) -> dict[str, Any]:
    """Run a method on an example, or find what it said: scores, fitted masks and cost as JSON."""
    key = {"method": method.key, "model": subject.digest, "example": example.key, "code": _HERE}

    def run() -> dict[str, Any]:
        method.prepare(subject)
        with Meter(subject.tracer.adapter.decoder) as meter:
            said = method.attribute(subject, example)
        shape = (len(example.spans), len(example.trace.units))
        if said.scores.shape != shape or not np.isfinite(said.scores).all():
            raise ValueError(f"{method.name} gave scores of {said.scores.shape}, not {shape}")
        return {
            "scores": said.scores.tolist(),
            "fitted": said.fitted.astype(int).tolist(),
            "forwards": meter.equivalents(example.tokens),
            "seconds": meter.seconds,
        }

    return subject.kept.document("scores", key, run)
