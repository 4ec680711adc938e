"""The three protocols that a signal can follow.

A *token signal* turns what one decoding step shows into one non-negative score per context token;
it knows nothing of units and spans. A *span signal* gives each source unit a signed effect on a
span, in nats where it can: by running the model again on the finished response, or, as a *live span
signal*, from what the decoding steps showed, so that the effects are there when the span ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

from omnitrace.capture.layer_rows import LayerRows
from omnitrace.errors import ConformanceError, OmnitraceError, PluginError
from omnitrace.types import Effect

if TYPE_CHECKING:
    import torch

    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.models.base import ModelAdapter
    from omnitrace.sources.options import SourceOptions
    from omnitrace.types import SourceUnit, Span

__all__ = [
    "Effect",
    "LiveSpanSignal",
    "ModelBound",
    "Need",
    "Sequential",
    "Signal",
    "SpanSignal",
    "TokenSignal",
    "gradient_target",
    "raising_only_ours",
    "subject_of",
]

Need: TypeAlias = Literal["rows", "values", "logit-gradients", "logprob-gradients", "forwards"]
"""What a signal has to be given: attention rows, and more."""

_TARGETS: Final[Mapping[Need, Literal["logit", "logprob"]]] = {
    "logit-gradients": "logit",
    "logprob-gradients": "logprob",
}


def gradient_target(needs: Iterable[Need]) -> Literal["logit", "logprob"] | None:
    """Return what is differentiated for a signal with these needs; None without gradients."""
    found = [target for need, target in _TARGETS.items() if need in set(needs)]
    if len(found) > 1:
        raise PluginError(
            "a signal asks for gradients of the logit and of the log-probability at once",
            legal="one of 'logit-gradients' and 'logprob-gradients'",
        )
    return found[0] if found else None


def subject_of(signal: object, package: str | None) -> str:
    """Name a signal, and the package that registered it where that is known."""
    name = f"the signal {getattr(signal, 'name', type(signal).__name__)!r}"
    return name if package is None else f"{name} of the package {package!r}"


@contextlib.contextmanager
def raising_only_ours(subject: str, contract: str) -> Iterator[None]:
    """Let a plugin run inside, which may raise anything; only Omnitrace's own errors come through.

    Raises
    ------
    ConformanceError
        Instead of any other exception: ``subject`` broke ``contract`` by raising it.
    """
    try:
        yield
    except OmnitraceError:
        raise
    except Exception as error:
        raised = f"raised {type(error).__name__}: {error}"
        raise ConformanceError(subject, contract, raised) from error


@runtime_checkable
class TokenSignal(Protocol):
    """Scores every context token for each generated token, while the model writes.

    Inherit from it to get the defaults: no parameters, rows of all layers.

    Attributes
    ----------
    name:
        The name it is registered under.
    parameters:
        JSON-ready settings, kept in the trace's provenance.
    needs:
        What it reads beside the rows: ``"values"``, and one of ``"logit-gradients"`` and
        ``"logprob-gradients"``.
    """

    name: str
    parameters: Mapping[str, Any] = {}
    needs: frozenset[Need] = frozenset({"rows"})

    def layers(self, available: Sequence[int]) -> Sequence[int]:
        """Choose the decoder layers whose rows are read, out of the ``available`` indices."""
        return available

    def score(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        """Return float32 ``[rows, context]``, non-negative and finite.

        ``rows`` yields the chosen layers in ascending order and computes each only when it is
        reached, so consume it once and reduce as you go.
        """
        ...


@runtime_checkable
class SpanSignal(Protocol):
    """Gives each source unit a signed effect on each span of a finished response.

    Attributes
    ----------
    name, parameters:
        As for a token signal.
    needs:
        ``"forwards"``: it runs the model again.
    """

    name: str
    parameters: Mapping[str, Any] = {}
    needs: frozenset[Need] = frozenset({"forwards"})

    def effects(self, scorer: ResponseScorer, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        """Return, for each span, a map from unit id to its effect."""
        ...


@runtime_checkable
class LiveSpanSignal(Protocol):
    """Gives each source unit a signed effect on a span from what its tokens' decoding steps showed.

    The rows of each token are reduced while the model writes, and only the reductions of the span
    that is being written are kept, so that memory does not grow with the response. The token scores
    of such a trace are those of "attention-mean".

    Attributes
    ----------
    name, parameters:
        As for a token signal.
    needs:
        As for a token signal.
    """

    name: str
    parameters: Mapping[str, Any] = {}
    needs: frozenset[Need] = frozenset({"rows"})

    def layers(self, available: Sequence[int]) -> Sequence[int]:
        """Choose the decoder layers whose rows are read, out of the ``available`` indices."""
        return available

    def reduce(self, rows: Iterable[LayerRows], units: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return float32 ``[rows, features, units]``, finite.

        A token's reduction depends on its own row alone, and the number of features is the same
        for every block of rows. ``rows`` is as for :meth:`TokenSignal.score`.

        Parameters
        ----------
        rows:
            What the chosen layers show of a few consecutive generated tokens.
        units:
            The prompt positions of each unit, in the layout's order.
        """
        ...

    def effects_of(self, reduced: torch.Tensor, units: Sequence[SourceUnit]) -> dict[str, Effect]:
        """Return a map from unit id to the unit's effect on one span.

        It is asked when the span ends, and on the part that is written for provisional supports.

        Parameters
        ----------
        reduced:
            The reductions of the span's tokens, float32 ``[tokens, features, units]``, on the CPU.
        units:
            All units of the request, in the layout's order.
        """
        ...


@runtime_checkable
class Sequential(Protocol):
    """A live span signal whose reductions of a token also depend on the tokens before it.

    Its ``reduce`` is not asked then.
    """

    def reducer(
        self, units: Sequence[Sequence[int]]
    ) -> Callable[[Iterable[LayerRows]], torch.Tensor]:
        """Return what reduces the rows of one response, as :meth:`LiveSpanSignal.reduce` does.

        It is called with all blocks of the response, in the order in which they are written. Its
        result must not depend on where one block ends and the next begins.
        """
        ...


@runtime_checkable
class ModelBound(Protocol):
    """A signal that was made for one model, and for units that are cut in one way."""

    def check_model(self, adapter: ModelAdapter, sources: SourceOptions) -> None:
        """Raise an ``OmnitraceError`` that says which of the two is another one, if it is.

        It is asked once, when a tracer is made with the signal.
        """
        ...


Signal: TypeAlias = TokenSignal | SpanSignal | LiveSpanSignal
"""A signal of any of the three kinds."""
