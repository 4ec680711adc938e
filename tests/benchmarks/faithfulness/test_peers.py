"""Other packages' methods, driven with a tiny model; each is tested only where it is installed."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from common.cache import Kept
from common.examples import Example, Subject
from common.methods import metered
from common.report import BenchmarkError
from common.texts import read_split
from faithfulness import peers
from omnitrace import Tracer


@pytest.fixture(scope="module")
def subject(small_adapter: Any, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return Subject(
        Tracer(adapter=small_adapter, verify=False), Kept(tmp_path_factory.mktemp("kept")), 8
    )


@pytest.fixture(scope="module")
def example(subject: Subject) -> Example:
    return subject.answer(read_split("train")[0])


def methods_of(package: str) -> list[Any]:
    # Some of them would go to the network when imported, so they are looked up and not imported.
    if peers.installed_version(package) is None:
        pytest.skip(f"{package} is not installed; it is no dependency: pip install {package}")
    peer = next(peer for peer in peers.PEERS if peer.package == package)
    return list(importlib.import_module(peer.module).methods())


def said_by(method: Any, subject: Subject, example: Example) -> tuple[np.ndarray, np.ndarray, Any]:
    said = metered(method, subject, example)
    model = subject.tracer.adapter.model
    assert model.config._attn_implementation == "sdpa"
    assert all(parameter.requires_grad for parameter in model.parameters())
    scores = np.array(said["scores"])
    assert scores.shape == (len(example.spans), len(example.trace.units))
    assert (scores != 0).any()
    return scores, np.array(said["fitted"], dtype=bool), said


def test_context_cite(subject: Subject, example: Example) -> None:
    few, many = methods_of("context-cite")
    _, masks, said = said_by(few, subject, example)
    assert masks.shape == (32, len(example.trace.units))
    assert 10 < said["forwards"] < 33
    _, more, _ = said_by(many, subject, example)
    assert len(more) == 64
    np.testing.assert_array_equal(more[:32], masks)


def test_at2(subject: Subject, example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    (method,) = methods_of("at2")
    attend = importlib.import_module("faithfulness.peers.attend")
    monkeypatch.setattr(attend, "STEPS", 20)
    method.prepare(subject)
    texts = read_split("train")[1:3]
    learned = method.fit(subject, [subject.answer(text) for text in texts])
    config = subject.tracer.adapter.model.config
    assert len(learned["weights"]) == config.num_hidden_layers * config.num_attention_heads
    assert np.std(learned["weights"]) > 0
    method.use(learned)
    _, masks, said = said_by(method, subject, example)
    assert len(masks) == 0
    assert said["forwards"] == pytest.approx(1, abs=0.1)


def test_at2_with_equal_weights_is_mean_attention(subject: Subject, example: Example) -> None:
    (method,) = methods_of("at2")
    config = subject.tracer.adapter.model.config
    heads = config.num_hidden_layers * config.num_attention_heads
    method.use({"weights": [1 / heads] * heads})
    scores, _, _ = said_by(method, subject, example)
    ours = example.summed(example.trace.unit_scores()) / example.span_tokens[:, None]
    # The package ends a span at its last character, we may count a token of white space more.
    for row, expected in zip(scores, ours, strict=True):
        assert np.corrcoef(row, expected)[0, 1] > 0.99


def test_inseq(subject: Subject, example: Example) -> None:
    attention, product = methods_of("inseq")
    scores, _, _ = said_by(attention, subject, example)
    ours = example.summed(example.trace.unit_scores())
    for row, expected in zip(scores, ours, strict=True):
        assert np.corrcoef(row, expected)[0, 1] > 0.9
    _, masks, said = said_by(product, subject, example)
    assert len(masks) == 0
    assert said["forwards"] > len(example.trace.token_ids)


def test_captum(subject: Subject, example: Example) -> None:
    (method,) = methods_of("captum")
    scores, masks, said = said_by(method, subject, example)
    units = len(example.trace.units)
    assert masks.shape == (units, units)
    assert units - 1 < said["forwards"] <= units + 1
    dropped = subject.measure(example, np.concatenate([masks, ~masks[:1] | True]), "drop")
    expected = (dropped[-1:] - dropped[:-1]).T
    # Both leave a sentence out of the text; white space between sentences differs.
    for row, drops in zip(scores, expected, strict=True):
        assert np.corrcoef(row, drops)[0, 1] > 0.9


def test_a_peer_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "installed_version", lambda package: None)
    methods, notes = peers.choose(["installed"])
    assert methods == []
    assert "at2 is not installed and has no row: pip install at2" in notes
    assert peers.choose(["none"]) == ([], [])
    for wanted in (["all"], ["context-cite"]):
        with pytest.raises(BenchmarkError, match="context-cite is not installed: pip install"):
            peers.choose(wanted)
    with pytest.raises(BenchmarkError, match="no peer is called 'shap'"):
        peers.choose(["shap"])


def test_another_prompt_is_refused(example: Example) -> None:
    peers.same_prompt(example, example.trace.prompt_ids, "it")
    with pytest.raises(BenchmarkError, match="it builds another prompt"):
        peers.same_prompt(example, example.trace.prompt_ids[1:], "it")
