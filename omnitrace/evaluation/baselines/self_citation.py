"""The self-attribution baseline: the model is asked which sources support its sentences.

The baseline of the OmniTrace paper, whose prompts are not public beyond their form (see
:mod:`~omnitrace.evaluation.labels.prompt`). Replies that cannot be read are no abstention: such a
sentence is answered wrongly, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from omnitrace.errors import OmnitraceError
from omnitrace.evaluation.baselines.trivial import Prediction
from omnitrace.evaluation.labels.matching import match_spans, true_units
from omnitrace.evaluation.labels.prompt import Answer, Ask, questions_of
from omnitrace.evaluation.labels.schema import Label, Source
from omnitrace.trace.trace import Trace

__all__ = ["SELF", "AskOf", "SelfAttribution", "self_attribution"]

#: Name of the baseline among the methods.
SELF: Final = "self"

#: Says who is asked about a trace.
AskOf: TypeAlias = Callable[[Trace], Ask]

# The choice of a sentence whose reply cannot be read; no unit has this name.
_UNREAD: Final = frozenset({"\0unread"})


@dataclass(frozen=True, slots=True)
class SelfAttribution:
    """What was replied for one trace.

    ``predictions`` has one for each span of the trace (None for white space); a named unit scores
    1, any other one 0. ``failures`` says for each sentence that could not be read why.
    """

    predictions: tuple[Prediction | None, ...]
    failures: tuple[str, ...]
    reply: str

    def of_label(self, label: Label, trace: Trace) -> list[Prediction | None]:
        """Return the prediction of each item of a label, as ``items_of`` yields them.

        Words are not asked about.
        """
        found: list[Prediction | None] = []
        for labelled, span in zip(label.spans, match_spans(label, trace), strict=True):
            found.append(None if span is None else self.predictions[span.index])
            found += [None] * len(labelled.words)
        return found


def self_attribution(trace: Trace, ask: Ask) -> SelfAttribution:
    """Ask once for the sources of every sentence of a trace.

    Parameters
    ----------
    trace:
        A trace, not redacted.
    ask:
        Given the question as text, its reply. If it raises an error of ours, no
        sentence was answered. :func:`~omnitrace.evaluation.model_access.ask_by` makes one of a
        tracer's model.

    Raises
    ------
    InputError
        If there is nothing to ask about.
    """
    questions = questions_of(trace)
    try:
        reply = ask(questions.prompt())
        answers = questions.read(reply)
    except OmnitraceError as error:  # such as a question too long for the model: it knows nothing
        reply, answers = "", tuple(Answer(None, str(error)) for _ in questions.spans)
    predictions: list[Prediction | None] = [None] * len(trace.spans)
    failures = []
    for index, answer in zip(questions.spans, answers, strict=True):
        if answer.sources is None:
            failures.append(answer.problem)
        predictions[index] = _prediction(trace, answer.sources)
    return SelfAttribution(tuple(predictions), tuple(failures), reply)


def _prediction(trace: Trace, sources: Sequence[Source] | None) -> Prediction:
    if sources is None:
        return Prediction(np.zeros(len(trace.units)), _UNREAD)
    chosen = true_units(sources, trace.units, trace.messages)
    return Prediction(np.array([float(unit.id in chosen) for unit in trace.units]), chosen)
