"""Training: resumable to the bit, without pickle, refusing another recipe's checkpoint."""

import random

import pytest
import torch
from safetensors.torch import load_file

from omnitrace.errors import InputError
from omnitrace.reference import train as training
from omnitrace.reference.build import build_tokenizer
from omnitrace.reference.train import Stage, learning_rate, recall_batch, repeated_batch, train

TOKENIZER = build_tokenizer()
STAGES = (
    Stage("induction", 2, 3, 1e-3),
    Stage("redraw", 0, 3, 0.0),
    Stage("facts", 2, 3, 1e-3),
    Stage("world", 2, 2, 1e-3),
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 1)
    monkeypatch.setattr(training, "teacher_forced_accuracy", lambda *_: "")


class Stopped(Exception):  # noqa: N818
    """Stands for a power cut."""


def test_a_resumed_run_gives_the_same_weights(tmp_path, monkeypatch):
    unbroken = train(tmp_path / "a", stages=STAGES, say=lambda _: None)
    save, saves = training._save_state, []

    def save_and_stop(*arguments):
        save(*arguments)
        saves.append(1)
        if len(saves) == 3:
            raise Stopped

    monkeypatch.setattr(training, "_save_state", save_and_stop)
    with pytest.raises(Stopped):
        train(tmp_path / "b", stages=STAGES, say=lambda _: None)
    with pytest.raises(InputError, match="another recipe or seed"):
        train(tmp_path / "b", stages=STAGES, run=1, resume=True, say=lambda _: None)
    monkeypatch.setattr(training, "_save_state", save)
    resumed = train(tmp_path / "b", stages=STAGES, resume=True, say=lambda _: None)
    first = load_file(unbroken / "model.safetensors")
    second = load_file(resumed / "model.safetensors")
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], rtol=0, atol=0)
    suffixes = {path.suffix for path in (tmp_path / "b").rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".json", ".jinja"}


def test_resuming_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(InputError, match="no checkpoint"):
        train(tmp_path, stages=STAGES, resume=True, say=lambda _: None)


def test_the_learning_rate_rises_and_falls():
    stage = Stage("world", 100, 16, 1e-3)
    rates = [learning_rate(stage, step) for step in range(100)]
    assert max(rates) == pytest.approx(1e-3)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[0] < 2e-4
    assert rates[-1] < 1e-5


def test_repeated_sequences_weigh_the_second_copy():
    batch = repeated_batch(random.Random(0), 4, 50)
    for ids, mask, weights in zip(
        batch.inputs["input_ids"], batch.inputs["attention_mask"], batch.weights, strict=True
    ):
        length = int(mask.sum()) // 2
        assert torch.equal(ids[:length], ids[length : 2 * length])
        assert weights.nonzero().flatten().tolist() == list(range(length + 1, 2 * length))


def test_recalled_facts_weigh_values_that_were_told():
    batch = recall_batch(random.Random(0), 4, TOKENIZER)
    for ids, mask, weights in zip(
        batch.inputs["input_ids"], batch.inputs["attention_mask"], batch.weights, strict=True
    ):
        facts = ids[: int(mask.sum())].reshape(-1, 4).tolist()
        told = {tuple(fact) for fact in facts[: len(facts) // 2]}
        assert {tuple(fact) for fact in facts[len(facts) // 2 :]} == told
        places = weights.nonzero().flatten().tolist()
        assert places == list(range(2 * len(facts) + 2, 4 * len(facts), 4))
