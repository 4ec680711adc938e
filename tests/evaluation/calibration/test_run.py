"""A threshold that is fitted to the reference model, kept in a file, and used."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnitrace import InputError, SelectionConfig, Tracer
from omnitrace.evaluation import (
    CalibrationOptions,
    Examples,
    Label,
    LabelError,
    TextSource,
    VerdictCalibration,
    calibrate_verdicts,
    read_calibration,
    scan_labels,
    write_labels,
)
from omnitrace.sources.request_files import RequestEntry
from tests.helpers.sample_labels import span
from tests.helpers.two_documents import entries, two_documents


@pytest.fixture(scope="module")
def tracer() -> Tracer:
    return Tracer.from_pretrained("reference")


@pytest.fixture(scope="module")
def found(tracer: Tracer) -> VerdictCalibration:
    options = CalibrationOptions(per_request=2)
    return calibrate_verdicts(Examples(entries(4)), tracer, options=options)


def test_copied_sentences_have_a_source_until_it_is_gone(found: VerdictCalibration) -> None:
    assert (found.examples, found.requests) == ("copied", 4)
    assert (found.supported, found.no_source) == (8, 8)
    assert found.f1 == 1.0
    assert 0.9 < found.left_out_f1 <= 1.0
    with_source = [each.effect for each in found.statements if each.supported]
    without = [each.effect for each in found.statements if not each.supported]
    assert max(without) < found.threshold <= min(with_source)


def test_the_file_is_read_back_and_changes_the_verdict(
    found: VerdictCalibration, tracer: Tracer, tmp_path: Path
) -> None:
    assert read_calibration(found.save(tmp_path / "deep" / "c.json")) == found
    selection = found.selection(SelectionConfig(max_supports=1))
    assert (selection.verdict_min, selection.max_supports) == (found.threshold, 1)
    calibrated = tracer.with_options(selection=selection)
    trace = calibrated.trace(two_documents(0))
    assert trace.config == selection
    assert {span.verdict for span in trace.spans} == {"supported"}
    strict = found.model_copy(update={"threshold": 99.0}).selection()
    assert {span.verdict for span in trace.reselect(strict).spans} == {"no-source"}
    again = calibrated.with_options(signal="attention-mean")
    assert again.setup.selection == selection


def test_another_model_is_refused(found: VerdictCalibration, tracer: Tracer) -> None:
    other = found.model_copy(update={"fingerprint": "0" * 64})
    with pytest.raises(InputError, match=r"calibrated for another model than 'reference'"):
        tracer.with_options(selection=other.selection())
    with pytest.raises(InputError, match="fingerprint 000000000000"):
        Tracer(adapter=tracer.adapter, selection=other.selection())
    with pytest.raises(InputError, match="fitted_to is 3"):
        SelectionConfig(fitted_to=3)  # type: ignore[arg-type]


def labelled(number: int, wrong: str) -> Label:
    """Label the first sentence of a request, and one that it does not say."""
    document = two_documents(number)[0]["content"][0]["text"]
    said = document.split(". ")[0] + "."
    response = f"{said} {wrong}"
    spans = (
        span(said, [TextSource(message=0, part=0, quote=said)], response),
        span(wrong, [], response),
    )
    return Label(version=1, id=f"r{number}", response=response, spans=spans)


def test_labelled_statements(tracer: Tracer, tmp_path: Path) -> None:
    labels = [labelled(number, "The garden was quiet.") for number in range(8)]
    scan = scan_labels(write_labels(tmp_path / "labels.jsonl", labels))
    without_label = entries(9)
    result = calibrate_verdicts(Examples(without_label), tracer, labels=scan)
    assert (result.examples, result.requests) == ("labelled", 8)
    assert (result.supported, result.no_source) == (8, 8)
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"version": 1}\n', encoding="utf-8")
    with pytest.raises(LabelError):
        calibrate_verdicts(Examples(without_label), tracer, labels=scan_labels(broken))


def test_too_few_examples_are_refused(tracer: Tracer) -> None:
    failures: list[str] = []
    (good,) = entries(1)
    alone = RequestEntry("alone", [{"role": "user", "content": "The lamp is red."}], Path())
    with pytest.raises(InputError, match="2 statements with a source and 2 without"):
        calibrate_verdicts(
            Examples([good, alone]),
            tracer,
            options=CalibrationOptions(per_request=2),
            failed=lambda failure: failures.append(str(failure)),
        )
    assert len(failures) == 1
    assert failures[0].startswith("alone, calibration: no sentence of the request")


def test_supports_must_be_verified(reference: Tracer) -> None:
    with pytest.raises(InputError, match="does not verify"):
        calibrate_verdicts(Examples(entries(1)), reference)


def test_a_model_that_cannot_be_measured_gives_no_example(
    tracer: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from omnitrace.errors import ModelError

    def refuse(*_: object, **__: object) -> None:
        raise ModelError("this model looks at more than embeddings")

    monkeypatch.setattr("omnitrace.engine.verification.response_scorer", refuse)
    failures: list[str] = []
    with (
        pytest.warns(RuntimeWarning, match="not verified"),
        pytest.raises(InputError, match="0 statements"),
    ):
        calibrate_verdicts(
            Examples(entries(1)), tracer, failed=lambda failure: failures.append(failure.reason)
        )
    assert "cannot be verified with this model" in failures[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("{}", "model: this field is required"),
        ('{"format": "something"}', "format: "),
    ],
)
def test_what_is_no_calibration_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_calibration(path)
    with pytest.raises(InputError, match="cannot read"):
        read_calibration(tmp_path / "absent.json")
