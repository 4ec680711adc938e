"""The benchmark on the reference world: real samples and files, and random weights.

What the model would say is given to it where a test needs it right; what it says itself is noise.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from common.report import BenchmarkError
from common.world_samples import (
    ALL,
    COLUMNS,
    LONG,
    MINUTE,
    REFUSAL,
    TWO,
    Drawn,
    draw_samples,
    groups_of,
    medium_seconds,
)
from omnitrace import SelectionConfig, Tracer
from omnitrace.evaluation.labels.matching import true_units
from omnitrace.evaluation.labels.schema import TextSource, TimeSource
from omnitrace.plugins.registry import registry
from omnitrace.reference.training.build import build_model, build_processor, build_tokenizer
from omnitrace.reference.world import MODALITIES, Sample, make_sample, validation_seed
from omnitrace.types import Modality
from reference import benchmark as reference
from reference.cases import chosen_cases, draw_cases, where_markdown
from reference.rows import (
    BASELINES,
    ORACLE,
    Collected,
    add_baselines,
    answer,
    collect,
    switched,
)
from reference.where import OUTCOMES, UNSAID
from tests.signals.captum.names import CAPTUM_SIGNALS

USUAL = SelectionConfig()
SIGNALS = ("attention-mean", "grad-sam")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute in one thread: in a model this small, two of them mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tracers(one_thread: None) -> dict[str, Tracer]:
    """Return tracers of the reference model's architecture with random weights."""
    tokenizer = build_tokenizer()
    first = Tracer(build_model(tokenizer).eval(), build_processor(tokenizer))
    return {name: Tracer(adapter=first.adapter, signal=name) for name in SIGNALS}


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Return two requests that show everything and ask about much of it, refusals included."""
    order: tuple[Modality, ...] = ("text", "image", "audio", "video")
    return [make_sample(validation_seed(n), questions=7, order=order, long=False) for n in (1, 2)]


@pytest.fixture(scope="module")
def traced(tracers: dict[str, Tracer], samples: list[Sample]) -> list[Any]:
    return [answer(tracers, sample, sample.answer) for sample in samples]


@pytest.fixture(scope="module")
def found(samples: list[Sample], traced: list[Any]) -> Collected:
    made = Collected()
    for sample, traces in zip(samples, traced, strict=True):
        collect(made, Drawn(sample, ordinary=True), traces, switched(USUAL))
    add_baselines(made, seed=0)
    return made


# --- which samples, which groups


def test_samples_are_drawn_as_asked() -> None:
    drawn = draw_samples(5, 3, validation=False)
    assert [each.ordinary for each in drawn] == [True] * 5 + [False] * 3
    assert len({each.sample.seed for each in drawn}) == 8
    minute, *others = (
        max(medium_seconds(each.sample, statement) for statement in each.sample.statements)
        for each in drawn[5:]
    )
    assert minute >= MINUTE
    assert min(others) >= LONG
    others_drawn = draw_samples(5, 3, validation=True)
    assert not {d.sample.seed for d in drawn} & {d.sample.seed for d in others_drawn}


def test_every_statement_is_in_one_column_beside_all_and_the_long_ones() -> None:
    seen = set()
    for number in range(120):
        sample = make_sample(validation_seed(number))
        for statement in sample.statements:
            groups = groups_of(Drawn(sample, ordinary=True), statement)
            category = statement.category
            kinds = groups & {*MODALITIES, TWO, REFUSAL}
            expected = {
                "two": TWO,
                "refusal": REFUSAL,
                "video": "audio" if category == "video-digit" else "video",
            }.get(category.partition("-")[0], category.partition("-")[0])
            assert kinds == {expected}
            assert (ALL in groups) == (category != "refusal")
            assert f"category: {category}" in groups
            seen |= groups
    assert set(COLUMNS) - {"60 s and more"} <= seen


def test_samples_drawn_for_their_long_medium_count_nowhere_else() -> None:
    (drawn,) = draw_samples(0, 1, validation=True)
    groups = frozenset().union(*(groups_of(drawn, each) for each in drawn.sample.statements))
    assert "long media" in groups
    assert groups <= {"long media", "60 s and more", "long audio", "long video"}


def test_long_is_what_lies_wholly_in_long_media() -> None:
    drawn_long = (
        make_sample(validation_seed(n), order=("audio", "text"), long=True) for n in range(99)
    )
    sample = next(each for each in drawn_long if LONG <= each.scenes[0].seconds < MINUTE)
    heard = TimeSource(message=0, part=0, start=1.0, end=2.0)
    read = TextSource(message=0, part=1, start=0, end=9)
    drawn = Drawn(sample, ordinary=True)

    def groups(*sources: Any) -> frozenset[str]:
        statement = dataclasses.replace(sample.statements[0], sources=sources)
        return groups_of(drawn, statement) - {f"category: {statement.category}"}

    assert groups(heard) == {"audio", "long media", "long audio", ALL}
    assert groups(heard, heard) == groups(heard)  # a number and the tone before it
    assert groups(heard, read) == {TWO, ALL}
    assert groups(read) == {"text", ALL}
    assert groups() == {REFUSAL}


# --- what is scored


def test_every_method_scores_every_statement(found: Collected, samples: list[Sample]) -> None:
    statements = sum(len(sample.statements) for sample in samples)
    assert set(found.rows) == {*SIGNALS, *switched(USUAL), *BASELINES, ORACLE}
    for rows in found.rows.values():
        assert [row.level for row in rows].count("span") == statements
        assert [row.level for row in rows].count("word") == statements
        assert all(row.said for row in rows)
    assert len(found.groups) == len(found.outcomes) == statements
    assert not {UNSAID} & set(found.outcomes.values())


def test_f1_and_top_one_are_what_they_say(
    found: Collected, samples: list[Sample], traced: list[Any]
) -> None:
    for name in SIGNALS:
        rows = iter(found.rows[name])
        for sample, traces in zip(samples, traced, strict=True):
            trace = traces[name]
            assert trace.token_ids == traces[SIGNALS[0]].token_ids
            for statement, span in zip(sample.statements, trace.spans, strict=True):
                truth = true_units(statement.sources, trace.units)
                said = {support.unit.id for support in span.supports}
                sentence, word = next(rows), next(rows)
                if not statement.sources:
                    assert sentence.values["f1"] == 0.0
                    assert word.values["top1"] is None
                    continue
                expected = 2 * len(said & truth) / (len(said) + len(truth))
                assert sentence.values["f1"] == pytest.approx(expected)
                tokens = [
                    token.index
                    for token in trace.tokens
                    if token.end > statement.value_start and token.start < statement.value_end
                ]
                mass = trace.unit_scores()[tokens].sum(axis=0)
                assert word.values["top1"] == float(trace.units[int(mass.argmax())].id in truth)


def test_switching_a_rule_changes_what_the_trace_would_select(
    found: Collected, samples: list[Sample], traced: list[Any]
) -> None:
    row = iter(found.rows["one support at most"])
    for sample, traces in zip(samples, traced, strict=True):
        again = traces[SIGNALS[0]].reselect(dataclasses.replace(USUAL, max_supports=1))
        for statement, span in zip(sample.statements, again.spans, strict=True):
            truth = true_units(statement.sources, again.units)
            sentence, _ = next(row), next(row)
            hit = bool({support.unit.id for support in span.supports} & truth)
            assert sentence.values["f1"] == pytest.approx(2 * hit / (1 + len(truth)))


def test_baselines_never_look_at_the_signal(found: Collected) -> None:
    items = [item for item in found.items if item.word is None]
    rows = {name: [row for row in found.rows[name] if row.level == "span"] for name in BASELINES}
    for number, item in enumerate(items):
        if item.sources:
            size, true = len(item.units), len(item.truth)
            every = rows["all units"][number].values
            assert every["f1"] == pytest.approx(2 * true / (size + true))
            assert every["auprc"] == pytest.approx(true / size)
            longest = max(item.units, key=lambda unit: len(unit.positions)).id
            hit = longest in item.truth
            assert rows["longest unit"][number].values["f1"] == pytest.approx(2 * hit / (1 + true))
        assert rows["random unit"][number].counts[1] == 1
        assert rows["position prior"][number].counts[1] <= 2


def test_naming_every_unit_that_shows_it_is_always_right_but_not_strictly(
    found: Collected, traced: list[Any]
) -> None:
    items = [item for item in found.items if item.word is None]
    rows = [row for row in found.rows[ORACLE] if row.level == "span"]
    for item, row in zip(items, rows, strict=True):
        assert row.values["cite_f1"] == 1.0
        shown = frozenset().union(*item.shown)
        assert item.truth <= shown <= {unit.id for unit in item.units}
        both = len(shown) + len(item.truth)
        assert row.values["f1"] == pytest.approx(2 * len(item.truth) / both if both else 1.0)


def test_the_position_prior_has_not_seen_the_sample_that_it_judges(
    samples: list[Sample], traced: list[Any]
) -> None:
    alone = Collected()
    collect(alone, Drawn(samples[0], ordinary=True), traced[0], {})
    add_baselines(alone, seed=0)
    assert all(row.counts[1] == 0 for row in alone.rows["position prior"])


def test_wrong_answers_are_counted_and_left_out(
    tracers: dict[str, Tracer], samples: list[Sample]
) -> None:
    sample = samples[0]
    wrong = sample.statements[0]
    other = "seven" if wrong.value != "seven" else "eight"
    said = sample.answer[: wrong.value_start] + other + sample.answer[wrong.value_end :]
    made = Collected()
    one = {SIGNALS[0]: tracers[SIGNALS[0]]}
    collect(made, Drawn(sample, ordinary=True), answer(one, sample, said), {})
    first, *others = (row for row in made.rows[SIGNALS[0]] if row.level == "span")
    assert not first.said
    assert first.values["f1"] is None
    assert made.outcomes[sample.id, 0] == UNSAID
    assert all(row.said for row in others)


def test_what_workers_collect_is_what_one_process_collects(
    found: Collected, samples: list[Sample], traced: list[Any]
) -> None:
    together = Collected()
    for sample, traces in zip(samples, traced, strict=True):
        one = Collected()
        collect(one, Drawn(sample, ordinary=True), traces, switched(USUAL))
        together.take(pickle.loads(pickle.dumps(one)))
    add_baselines(together, seed=0)
    assert together.rows == found.rows
    assert [each.units for each in together.items] == [each.units for each in found.items]
    for name in ("groups", "outcomes", "samples", "answers"):
        assert getattr(together, name) == getattr(found, name)
        assert list(getattr(together, name)) == list(getattr(found, name))


# --- switches


def test_every_switch_changes_one_rule() -> None:
    for usual in (USUAL, SelectionConfig(rollout=True, assign="unit-mean", min_grounding=0.2)):
        before = usual.to_dict()
        for name, config in switched(usual).items():
            after = config.to_dict()
            changed = {rule for rule in before if before[rule] != after[rule]}
            assert changed, name
            assert len(changed) == 1 or changed == {"p_min", "run_min"}
    assert {"gate off", "rollout on", "assign token-max", "assign unit-mean"} <= set(
        switched(USUAL)
    )
    other = switched(SelectionConfig(rollout=True, min_grounding=0.2))
    assert {"rollout off", "grounding threshold off"} <= set(other)
    assert "grounding threshold off" not in switched(USUAL)


# --- where supports lie


def test_cases_are_drawn_and_listed(
    found: Collected, tracers: dict[str, Tracer], tmp_path: Path
) -> None:
    cases = chosen_cases(found)
    assert len(cases) == len({key for _, key in cases})
    for column, key in cases:
        assert column in found.groups[key]
        assert found.outcomes[key] in OUTCOMES
    paths = draw_cases(found, tracers[SIGNALS[0]], tmp_path)
    assert len(paths) == len(cases) > 0
    page = (tmp_path / "cases.md").read_text(encoding="utf-8")
    assert all(path.is_file() and path.name in page for path in paths)
    assert where_markdown(found) in page


# --- the script


@pytest.fixture(scope="module")
def folder(tracers: dict[str, Tracer], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    adapter: Any = tracers[SIGNALS[0]].adapter
    adapter.model.generation_config.max_new_tokens = 8
    adapter.model.save_pretrained(path)
    adapter.processor.save_pretrained(path)
    return path


def test_a_model_that_knows_nothing_gives_a_table_all_the_same(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "reference.json"
    options = ["--quick", "--samples", "2", "--long-samples", "0", "--model", str(folder)]
    options += ["--threads", "1", "--signals", ",".join(SIGNALS)]
    aligned = tmp_path / "aligned.json"
    assert reference.main([*options, "--aligned", "--json", str(aligned)]) == 0
    again = json.loads(aligned.read_text(encoding="utf-8"))
    assert again["settings"]["aligned"]
    assert "aligned reference world" in again["title"]
    assert reference.main([*options, "--json", str(made)]) == 0
    document = json.loads(made.read_text(encoding="utf-8"))
    assert document["table"]["columns"] == ["measure", "method", *COLUMNS]
    assert all(len(each) == 2 + len(COLUMNS) for each in document["table"]["rows"])
    assert document["values"]["statements"] == document["values"]["wrong"] > 0
    assert document["settings"]["signals"] == list(SIGNALS)
    measures = {each["measure"] for each in document["values"]["scores"]}
    assert {
        "statements right",
        "top-1",
        "F1",
        "F1 change",
        "cite-F1",
        "Time-F1",
        "AUPRC",
    } <= measures
    assert {"grounding AUROC", "abstention F1", "abstention F1, fitted"} <= measures
    cited = [each for each in document["values"]["scores"] if each["measure"] == "cite-F1"]
    assert [each["method"] for each in cited] == [*SIGNALS, *BASELINES, ORACLE]
    details = document["values"]["details"]
    assert {each["measure"] for each in details} == {"statements right", "top-1", "F1"}
    assert all(name.startswith(("category: ", "long ")) for name in details[0]["estimates"])
    capsys.readouterr()
    validated = ["--signals", "attention-mean", "--validation", "--pictures", str(tmp_path / "p")]
    assert reference.main([*options, *validated]) == 0
    printed = capsys.readouterr().out
    assert "min_grounding 0.000 would abstain best here" in printed
    assert "| strongest support |" in printed
    assert "| group | statements right, sentence | F1, attention-mean |" in printed


def test_mistakes_are_told_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reference.main(["--signals", "attention-man", "--model", str(folder)]) == 2
    assert "attention-man" in capsys.readouterr().out
    with pytest.raises(BenchmarkError, match="train it"):
        reference._load(str(tmp_path / "none"), ["attention-mean"], "bins")
    with pytest.raises(SystemExit):
        reference.parse(["--validation", "--json", str(tmp_path / "x.json")])


def test_every_built_in_signal_is_a_row() -> None:
    ours = {name for name, each in registry().signals.items() if each.package == "omnitrace"}
    # Those that run a method of Captum have rows in faithfulness_omni.py: they take many passes.
    assert set(reference.SIGNALS) == ours - set(CAPTUM_SIGNALS)


def test_defaults_depend_on_quick() -> None:
    full, quick = reference.parse([]), reference.parse(["--quick"])
    assert (full.samples, full.long_samples, full.signals) == (200, 100, reference.SIGNALS)
    assert (quick.samples, quick.long_samples) == (20, 8)
    few = reference.parse(["--quick", "--samples", "0", "--long-samples", "0"])
    assert (few.samples, few.long_samples) == (0, 0)
    assert reference.parse(["--signals", "grad-sam,attention-mean"]).signals == (
        "grad-sam",
        "attention-mean",
    )
