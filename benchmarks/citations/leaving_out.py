"""Leave-one-out of whole documents, exactly: what a statement loses without each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from citations.cases import Case
from citations.naming import Naming, documents_by_effect, example_of, kept_naming
from common.cache import code_digest
from common.examples import Subject
from common.meter import Meter
from omnitrace import SelectionConfig, SourceOptions, SourceUnit
from omnitrace.ablation import leave_one_out, measure

__all__ = ["LeaveOneOutNamer", "chosen_documents"]

_FILE: Final = Path(__file__)
_METER: Final = _FILE.parents[1] / "common" / "meter.py"
_HERE: Final = code_digest(_FILE, _FILE.with_name("naming.py"), _METER)


def chosen_documents(
    drops: Sequence[float] | np.ndarray, units: Sequence[SourceUnit], config: SelectionConfig
) -> tuple[int, ...]:
    """Return the documents that a statement rests on, that of the largest drop first.

    There is none where that drop is below ``verdict_min``, as for verified supports; the others are
    chosen as from the effects of any signal.

    Parameters
    ----------
    drops:
        ``[documents]``: what the whole statement loses without each of them, in nats.
    units:
        The documents.
    config:
        Of the tracer.
    """
    if max(drops, default=0.0) < config.verdict_min:
        return ()
    return documents_by_effect(drops, units, config)


@dataclass
class LeaveOneOutNamer:
    """Hides one document after the other: the quantity that AttriBoT approximates.

    Exact, with one pass a document; what the passes share before the hidden document runs once.
    """

    name: str = "leave-one-out"

    def prepare(self, subject: Subject) -> None:
        """Nothing is done ahead."""

    def name_documents(self, subject: Subject, case: Case) -> Naming:
        """Measure every statement without each document and choose, or find what was named."""

        def run() -> dict[str, Any]:
            tracer = subject.tracer.with_options(sources=SourceOptions(text="whole"))
            example = example_of(subject, case)
            with Meter(tracer.adapter.decoder) as meter:
                scorer = tracer.scorer(case.messages, list(example.trace.token_ids))
                masks = leave_one_out(len(scorer.source_units))
                drops = measure(scorer, example.trace.spans, masks).drops
            units, config = scorer.source_units, tracer.setup.selection
            return {
                "documents": [chosen_documents(each, units, config) for each in drops.T],
                "passes": meter.equivalents(example.tokens),
                "seconds": meter.seconds,
            }

        return kept_naming(subject, case, self.name, _HERE, run)
