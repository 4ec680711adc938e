"""Attribution methods behind one interface: one score for each unit and span.

Ours are here, those of other packages in ``_peers``.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np

from common.cache import code_digest
from common.examples import Example, Subject, package_code
from common.meter import Meter
from omnitrace import InputError, Tracer
from omnitrace.attribution.effects import measured_effects
from omnitrace.plugins.registry import registry
from omnitrace.signals.base import SpanSignal, TokenSignal
from omnitrace.signals.captum.base import CaptumSignal

if TYPE_CHECKING:
    from omnitrace.ablation.scorer import ResponseScorer

__all__ = [
    "Attribution",
    "Method",
    "SpanSignalMethod",
    "TokenSignalMethod",
    "captum_methods",
    "metered",
    "own_methods",
    "signal_methods",
]

_FOLDER: Final = Path(__file__).parent
_HERE: Final = code_digest(*(_FOLDER / f"{name}.py" for name in ("meter", "examples", "methods")))
_SAMPLES: Final = (32, 64)  # what context-cite is given too
_STEPS: Final = 8  # forward and backward for each span


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
    """Scores the units of an example for each span of the response.

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
    group: Literal["signal", "peer"] = "signal"
    learns: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def key(self) -> dict[str, Any]:
        """What its scores depend on beside the example and the model, JSON-ready."""

    @abc.abstractmethod
    def attribute(self, subject: Subject, example: Example) -> Attribution:
        """Score one example."""

    def refusal(self, example: Example) -> str | None:
        """Say why it cannot score an example; None where it can."""
        return None

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
        """Replay the response."""
        assert self._tracer is not None
        trace = self._tracer.replay(example.request.messages, list(example.trace.token_ids))
        return Attribution.unablated(example.summed(trace.unit_scores()))


class SpanSignalMethod(Method):
    """A span signal, with the masks that it measures.

    Parameters
    ----------
    name, group:
        As for :class:`Method`.
    signal:
        The signal; a ``CaptumSignal`` says how many passes it needs.
    """

    def __init__(
        self, name: str, signal: Any, *, group: Literal["signal", "peer"] = "signal"
    ) -> None:
        self.name = name
        self.group = group
        self._signal = signal

    @property
    def key(self) -> dict[str, Any]:
        """The library, as it is."""
        said = {"signal": self.name, "parameters": dict(self._signal.parameters)}
        return said | {"code": package_code()}

    def refusal(self, example: Example) -> str | None:
        """Say so where the signal has too few passes for this many units or spans."""
        if not hasattr(self._signal, "passes"):
            return None
        try:
            self._signal.passes(len(example.trace.units), len(example.spans))
        except InputError as error:
            return str(error).splitlines()[0]
        return None

    def attribute(self, subject: Subject, example: Example) -> Attribution:
        """Ask for the effects."""
        scorer = subject.scorer(example)
        with _measured_masks(scorer) as measured:
            effects = measured_effects(self._signal, scorer, example.spans)
        ids = [unit.id for unit in example.trace.units]
        scores = [[said[i].value if i in said else 0.0 for i in ids] for said in effects]
        masks = [np.zeros((0, len(ids)), dtype=bool), *measured]
        return Attribution(np.array(scores), np.unique(np.concatenate(masks), axis=0))


@contextlib.contextmanager
def _measured_masks(scorer: ResponseScorer) -> Iterator[list[np.ndarray]]:
    """Note the keep-masks that are measured with a scorer, bool ``[m, K]`` each."""
    found: list[np.ndarray] = []
    before, scorer.measured = scorer.measured, found.append
    try:
        yield found
    finally:
        scorer.measured = before


def signal_methods() -> list[Method]:
    """Every signal of the package that needs no training, but those of captum_methods."""
    made = {
        entry.name: entry.make()
        for entry in registry().signals.values()
        if entry.package == "omnitrace"
    }
    found: list[Method] = []
    for name, signal in made.items():
        if isinstance(signal, TokenSignal):
            found.append(TokenSignalMethod(name))
        elif isinstance(signal, SpanSignal) and not isinstance(signal, CaptumSignal):
            found.append(SpanSignalMethod(name, signal))
    return found


def own_methods() -> list[Method]:
    """Every signal of the package without training, and feature ablation by captum."""
    ablation = registry().signal("feature-ablation").make()
    return [*signal_methods(), SpanSignalMethod("captum-feature-ablation", ablation)]


def captum_methods() -> list[Method]:
    """All methods of captum; what samples gets 64 passes, Kernel SHAP also 32."""
    most = _SAMPLES[-1]
    made: list[tuple[str, str, dict[str, int]]] = [
        ("feature-ablation", "", {}),
        *(("kernel-shap", f" ({count})", {"samples": count}) for count in _SAMPLES),
        ("lime", f" ({most})", {"samples": most}),
        ("shapley", f" ({most})", {"max_forwards": most}),
        ("integrated-gradients", f" ({_STEPS} steps)", {"steps": _STEPS}),
        ("input-x-gradient", "", {}),
    ]
    return [
        SpanSignalMethod(
            f"captum-{name}{said}", registry().signal(name).make(**parameters), group="peer"
        )
        for name, said, parameters in made
    ]


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
