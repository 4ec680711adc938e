"""Heads are chosen by the attention that they pay to what a statement rests on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omnitrace import InputError, Tracer
from omnitrace.evaluation import (
    Examples,
    HeadOptions,
    Label,
    LabelError,
    TextSource,
    scan_labels,
    select_heads,
    write_labels,
)
from omnitrace.signals import HeadSelection, SelectedHeads
from omnitrace.sources.request_files import RequestEntry
from tests.helpers.sample_labels import span
from tests.helpers.two_documents import entries, two_documents

COUNT = 4


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Label a sentence of each request, after one that rests on nothing."""
    made = []
    for number in range(COUNT):
        said = two_documents(number)[0]["content"][1]["text"].split(". ")[0] + "."
        response = f"The garden was quiet. {said}"
        spans = (
            span("The garden was quiet.", [], response),
            span(said, [TextSource(message=0, part=1, quote=said)], response),
        )
        made.append(Label(version=1, id=f"r{number}", response=response, spans=spans))
    return write_labels(tmp_path_factory.mktemp("labels") / "labels.jsonl", made)


@pytest.fixture(scope="module")
def found(reference: Tracer, labels: Path) -> HeadSelection:
    options = HeadOptions(count=3)
    examples = Examples(entries(COUNT + 1))
    return select_heads(examples, reference, labels=scan_labels(labels), options=options)


def test_a_score_is_the_share_on_the_evidence(
    found: HeadSelection, reference: Tracer, labels: Path
) -> None:
    assert (found.examples, found.requests, found.statements) == ("labelled", COUNT, COUNT)
    assert list(found.scores) == sorted(found.scores, reverse=True)
    for head, score in zip(found.heads, found.scores, strict=True):
        alone = SelectedHeads(found.model_copy(update={"heads": (head,)}))
        tracer = reference.with_options(signal=alone)
        shares = []
        for entry in scan_labels(labels).entries:
            messages = two_documents(int(entry.label.id[1:]))
            trace = tracer.replay(messages, entry.label.response)
            said = trace.spans[1]
            masses = trace.unit_scores()[said.token_start : said.token_end]
            masses = masses / np.sqrt([len(unit.positions) for unit in trace.units])
            # Two sentences a note: the third unit is the first of the second note.
            shares.append((masses[:, 2] / masses.sum(axis=1)).mean())
        assert score == pytest.approx(np.mean(shares), abs=1e-4)


def test_some_heads_find_what_all_together_do_not(reference: Tracer) -> None:
    options = HeadOptions(count=4, per_request=2)
    chosen = select_heads(Examples(entries(4)), reference, options=options)
    assert (chosen.examples, chosen.statements, len(chosen.heads)) == ("copied", 8, 4)
    assert chosen == select_heads(Examples(entries(4)), reference, options=options).model_copy(
        update={"created": chosen.created}
    )
    assert min(chosen.scores) > chosen.all_heads + 0.1
    tracer = reference.with_options(signal=SelectedHeads(chosen))
    messages = two_documents(9)
    said = messages[0]["content"][1]["text"].split(". ")[0] + "."
    (only,) = tracer.replay(messages, said).spans
    assert only.supports[0].unit.preview == said


def test_mistakes(reference: Tracer, tmp_path: Path) -> None:
    failures: list[str] = []
    alone = RequestEntry("alone", [{"role": "user", "content": "The lamp is red."}], Path())
    with pytest.raises(InputError, match="2 statements with known evidence"):
        select_heads(
            Examples([*entries(1), alone]),
            reference,
            options=HeadOptions(per_request=2),
            failed=lambda failure: failures.append(failure.example),
        )
    assert failures == ["alone"]
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"version": 1}\n', encoding="utf-8")
    with pytest.raises(LabelError):
        select_heads(Examples(entries(1)), reference, labels=scan_labels(broken))
    with pytest.raises(InputError, match="count is 0"):
        HeadOptions(count=0)
