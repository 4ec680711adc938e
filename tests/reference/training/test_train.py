"""Training: resumable to the bit, without pickle, refusing another recipe's checkpoint."""

import random

import pytest
import torch
from safetensors.torch import load_file

from omnitrace.errors import InputError
from omnitrace.reference.training import train as training
from omnitrace.reference.training.build import build_model, build_processor, build_tokenizer
from omnitrace.reference.training.lessons import draw_lesson, draw_samples, repeated_samples
from omnitrace.reference.training.tensors import Senses
from omnitrace.reference.training.train import (
    Stage,
    Trainer,
    default_stages,
    learning_rate,
    train,
    validate,
)
from omnitrace.reference.training.warm import warm_start
from omnitrace.reference.world import CATEGORIES, THINKING_CATEGORIES, VALIDATION

STAGES = (
    Stage("towers", 1, 0, 1e-3),
    Stage("induction", 1, 100, 1e-3),
    Stage("text", 1, 400, 1e-3),
    Stage("mix", 2, 800, 1e-3),
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 1)
    monkeypatch.setattr(training, "validate", lambda *_, **__: {})
    monkeypatch.setitem(training.SHOWN, "towers", (1, 1, 1))


class Stopped(Exception):  # noqa: N818
    """Stands for a power cut."""


def silent(_line):
    """Say nothing."""


def test_a_resumed_run_gives_the_same_weights(tmp_path, monkeypatch):
    unbroken = train(tmp_path / "a", stages=STAGES, say=silent)
    save, saves = Trainer.save, []

    def save_and_stop(self, *arguments):
        save(self, *arguments)
        saves.append(1)
        if len(saves) == 4:
            raise Stopped

    monkeypatch.setattr(Trainer, "save", save_and_stop)
    with pytest.raises(Stopped):
        train(tmp_path / "b", stages=STAGES, say=silent)
    with pytest.raises(InputError, match="another recipe or seed"):
        train(tmp_path / "b", stages=STAGES, run=1, resume=True, say=silent)
    monkeypatch.setattr(Trainer, "save", save)
    resumed = train(tmp_path / "b", stages=STAGES, resume=True, say=silent)
    first = load_file(unbroken / "model.safetensors")
    second = load_file(resumed / "model.safetensors")
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], rtol=0, atol=0)
    suffixes = {path.suffix for path in (tmp_path / "b").rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".json", ".jinja"}


def test_resuming_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(InputError, match="no checkpoint"):
        train(tmp_path, stages=STAGES, resume=True, say=silent)


def test_towers_and_text_model_learn_apart():
    trainer = Trainer(0, None)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}

    def changed():
        return {n for n, p in trainer.model.named_parameters() if not torch.equal(p, before[n])}

    trainer.learn(STAGES[0])
    assert changed()
    assert all(".visual." in name or ".audio_tower." in name for name in changed())
    before |= {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.learn(STAGES[2])
    assert changed()
    assert not [name for name in changed() if ".visual." in name or ".audio_tower." in name]


def test_the_learning_rate_rises_and_falls():
    stage = Stage("mix", 100, 16, 1e-3)
    rates = [learning_rate(stage, step) for step in range(100)]
    assert max(rates) == pytest.approx(1e-3)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[0] < 2e-4
    assert rates[-1] < 1e-5


def test_validation_counts_every_category_and_an_untrained_model_knows_nothing():
    processor = build_processor()
    model = build_model(processor.tokenizer)
    found = validate(model, Senses(model), processor.tokenizer, number=36)
    assert set(found) == set(CATEGORIES)
    assert max(found.values()) < 0.5


def test_repeated_words_weigh_the_second_copy():
    rows = repeated_samples(0, 3, tokens=200, vocabulary=50, width=8)
    assert len(rows) == 3
    for row in rows:
        length = len(row.ids) // 2
        assert torch.equal(row.ids[:length], row.ids[length:])
        assert row.weights.nonzero().flatten().tolist() == list(range(length + 1, 2 * length))
        assert row.positions.tolist() == [list(range(2 * length))] * 3
        assert row.media.shape == (0, 8)
    again = repeated_samples(0, 3, tokens=200, vocabulary=50, width=8)
    assert [row.ids.tolist() for row in again] == [row.ids.tolist() for row in rows]


@pytest.mark.parametrize("stage", ["steps", "think"])
def test_lessons_of_several_steps(stage):
    drawn = [draw_samples(stage, run=3, number=n, tokens=1500)[0] for n in range(12)]
    assert draw_samples(stage, run=3, number=5, tokens=1500)[0] == drawn[5]
    thought_out = [s for batch in drawn for s in batch if s.statements[0].section == "thought"]
    assert all(len(batch) >= 1 for batch in drawn)
    assert len(thought_out) > 12
    assert all(sample.seed < VALIDATION for sample in thought_out)
    orders = {sample.order for sample in thought_out}
    assert orders == {("text",)} if stage == "steps" else len(orders) > 3
    assert default_stages(thinking=True)[0].name == "steps"


def test_validation_of_several_steps_counts_thoughts_and_answers():
    processor = build_processor(build_tokenizer(thinking=True))
    model = build_model(processor.tokenizer)
    found = validate(
        model, Senses(model), processor.tokenizer, number=24, questions=2, thinking=True
    )
    assert set(found) == {"thought", *THINKING_CATEGORIES}
    assert max(found.values()) < 0.5


@pytest.mark.parametrize("stage", ["facts", "text", "single", "mix", "end"])
def test_lessons_are_of_their_stage_and_of_training_seeds(stage):
    rng = random.Random(0)
    lessons = [draw_lesson(stage, rng) for _ in range(200)]
    if stage in ("facts", "text"):
        assert {set(lesson.order) == {"text"} for lesson in lessons} == {True}
    elif stage == "single":
        assert {len(lesson.order) for lesson in lessons} == {1}
        assert {lesson.order[0] for lesson in lessons} == {"text", "image", "audio", "video"}
    else:
        assert max(len(lesson.order) for lesson in lessons) >= 4
        assert any(lesson.long for lesson in lessons)
    if stage not in ("facts", "text"):
        assert {lesson.aligned for lesson in lessons} == {False, True}
    if stage == "end":
        assert any(lesson.long and len(lesson.order) > 1 for lesson in lessons)
        assert any(lesson.categories == ("refusal",) for lesson in lessons)
        sums = {n.questions for n in lessons if n.categories == ("two-sum", "two-agree")}
        assert sums == {(1, 2), (4, 8)}  # asked for alone, and among others
    samples, systems = draw_samples(stage, run=3, number=7, tokens=1500)
    assert len(samples) == len(systems) >= 2
    assert len({sample.order for sample in samples}) == 1
    assert all(sample.seed < VALIDATION for sample in samples)
    assert draw_samples(stage, run=3, number=7, tokens=1500)[0] == samples
    assert draw_samples(stage, run=3, number=8, tokens=1500)[0] != samples


def test_a_deeper_model_starts_where_the_shallow_one_ended(tmp_path):
    """Two layers more, a word more: the old words mean what they did, nothing else changes."""
    processor = build_processor()
    tokenizer = processor.tokenizer
    shallow = build_model(tokenizer, 1).eval()
    shallow.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    deep_config = build_model(tokenizer, 2).config
    deep_config.text_config.num_hidden_layers += 2
    deep_config.text_config.layer_types += ["full_attention"] * 2
    deep = type(shallow)(deep_config).eval()
    left = warm_start(deep, tokenizer, tmp_path)
    assert {name.split(".layers.")[1].split(".")[0] for name in left} == {"3", "4"}
    ids = tokenizer("The spoon weighs seven grams.", return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(deep(input_ids=ids).logits, shallow(input_ids=ids).logits)
