"""Sanity checks: five questions to ask before any figure of an attribution is believed.

>>> from omnitrace.evaluation.sanity import case_of, shuffled_evidence, tracers_of
>>> tracers = tracers_of(tracer, ["attention-mean", "grad-sam"])  # doctest: +SKIP
>>> cases = [case_of(tracers, "one", messages, response)]  # doctest: +SKIP
>>> shuffled_evidence(tracer, cases)[0].difference  # doctest: +SKIP

``docs/explanation/sanity.md`` says what each of them asks, and what failing looks like.
"""

from omnitrace.evaluation.sanity.agreement import (
    Agreement,
    OperatorAgreement,
    operator_agreement,
)
from omnitrace.evaluation.sanity.cases import (
    CONTROL,
    DEFAULT,
    Case,
    Draws,
    case_of,
    case_of_trace,
    tracers_of,
)
from omnitrace.evaluation.sanity.evidence import Shuffled, shuffled_evidence
from omnitrace.evaluation.sanity.overlap import Overlap
from omnitrace.evaluation.sanity.randomisation import (
    Randomisation,
    Stage,
    parameter_randomisation,
    randomised_layers,
)
from omnitrace.evaluation.sanity.regeneration import Regenerated, Regeneration, regeneration
from omnitrace.evaluation.sanity.report import (
    CHECKS,
    Sanity,
    SanityDocument,
    SanityOptions,
    check_all,
)
from omnitrace.evaluation.sanity.run import check_examples
from omnitrace.evaluation.sanity.stability import (
    Stability,
    StabilityOptions,
    Unchanged,
    stability,
)

__all__ = [
    "CHECKS",
    "CONTROL",
    "DEFAULT",
    "Agreement",
    "Case",
    "Draws",
    "OperatorAgreement",
    "Overlap",
    "Randomisation",
    "Regenerated",
    "Regeneration",
    "Sanity",
    "SanityDocument",
    "SanityOptions",
    "Shuffled",
    "Stability",
    "StabilityOptions",
    "Stage",
    "Unchanged",
    "case_of",
    "case_of_trace",
    "check_all",
    "check_examples",
    "operator_agreement",
    "parameter_randomisation",
    "randomised_layers",
    "regeneration",
    "shuffled_evidence",
    "stability",
    "tracers_of",
]
