"""An estimator comes back from its file as it was, or the file is refused with a reason."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from omnitrace import InputError, SourceOptions
from omnitrace.estimator import Learned, load, save
from omnitrace.estimator.examples import load_example, save_example
from omnitrace.estimator.store import _sealed, sources_record
from tests.helpers.estimators import UNITS, made_example, made_learned, with_network


def test_a_round_trip(tmp_path: Path) -> None:
    learned = made_learned()
    found = load(save(tmp_path / "deep" / "e.safetensors", learned))
    assert found.card == learned.card
    assert found.calibration == learned.calibration
    features = made_example(0).features
    scores = learned.fitted.scores(features, UNITS)
    assert (found.fitted.scores(features, UNITS) == scores).all()
    spreads = learned.fitted.spreads(features, UNITS)
    assert (found.fitted.spreads(features, UNITS) == spreads).all()


def test_a_network_comes_back(tmp_path: Path) -> None:
    learned = with_network(made_learned())
    path = save(tmp_path / "e", learned)
    found = load(path)
    assert found.card == learned.card
    features = made_example(0).features
    scores = learned.fitted.scores(features, UNITS)
    assert (found.fitted.scores(features, UNITS) == scores).all()
    assert (found.fitted.spreads(features, UNITS) == 1).all()
    assert save(tmp_path / "again", found).read_bytes() == path.read_bytes()


def test_without_a_posterior(tmp_path: Path) -> None:
    learned = made_learned()
    plain = dataclasses.replace(
        learned, fitted=dataclasses.replace(learned.fitted, covariance=None, noise=None)
    )
    found = load(save(tmp_path / "e", plain))
    assert found.fitted.covariance is None
    assert (found.fitted.spreads(made_example(0).features, UNITS) == 1).all()


@given(
    text=st.sampled_from(["sentence", "paragraph", "whole"]),
    grid=st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9)),
    audio_bin=st.floats(0.1, 30),
    history=st.booleans(),
)
def test_source_options_come_back(text: Any, grid: Any, audio_bin: float, history: bool) -> None:
    options = SourceOptions(text=text, image_grid=grid, audio_bin=audio_bin, history=history)
    record = sources_record(options)
    plain = {name: value for name, value in record.items() if name != "language"}
    assert sources_record(SourceOptions.from_record(plain, record["language"])) == record
    assert record != sources_record(SourceOptions(audio_bin=audio_bin + 1, text=text))


def rewritten(
    path: Path,
    change: Callable[[dict[str, Any], dict[str, Any]], object],
    learned: Learned | None = None,
) -> Path:
    """Save an estimator whose card or tensors are changed."""
    save(path, learned or made_learned())
    with safe_open(path, framework="numpy") as file:
        card = json.loads(file.metadata()["omnitrace"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(card, tensors)
    path.write_bytes(_sealed(tensors, card))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card, _: card.update(format="other"), "is no estimator"),
        (lambda card, _: card.update(version=5), "version 5.*update omnitrace"),
        (lambda card, _: card.pop("recipe"), "card of .* is damaged: recipe: Field required"),
        (lambda card, _: card["model"].update(heads="4"), r"damaged: model\.heads"),
        (lambda card, _: card["model"].update(heads=4), "weights.*2 layers of 4 heads"),
        (lambda _, tensors: tensors["weights"].fill(np.nan), "finite weights of 15"),
        (lambda _, tensors: tensors.pop("weights"), "finite weights of 15"),
        (lambda _, tensors: tensors.pop("noise"), "finite weights of 15"),
        (lambda _, tensors: tensors.update(more=np.zeros(1)), "finite weights of 15"),
    ],
)
def test_files_that_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any], dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load(rewritten(tmp_path / "e.safetensors", change))


def test_no_changed_bit_passes(tmp_path: Path) -> None:
    path = save(tmp_path / "e", made_learned())
    whole = path.read_bytes()
    draws = np.random.default_rng(5)
    for bit in [*draws.integers(0, 8 * len(whole), 200), *range(64), 8 * len(whole) - 1]:
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(changed)
        with pytest.raises(InputError):
            load(path)
    path.write_bytes(whole)
    assert load(path).card == made_learned().card


@pytest.mark.parametrize("version", [2, 3, 4])
def test_a_file_without_a_checksum_is_an_older_one(tmp_path: Path, version: int) -> None:
    learned = made_learned()
    card = json.dumps(learned.card.model_dump(mode="json") | {"version": version})
    path = tmp_path / "e"
    save_file({"weights": learned.fitted.weights}, path, {"omnitrace": card})
    if version == 2:
        assert (load(path).fitted.weights == learned.fitted.weights).all()
    else:
        with pytest.raises(InputError, match="checksum differs"):
            load(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda card, _: card["fit"].update(kind="ridge"),
        lambda _, tensors: tensors.pop("outer"),
        lambda _, tensors: tensors.update(outer=tensors["outer"][:3]),
        lambda _, tensors: tensors.update(bias=np.array(1.0)),
        lambda _, tensors: tensors.update(inner=tensors["inner"][:, 1:]),
        lambda _, tensors: tensors["inner"].fill(np.inf),
        lambda _, tensors: tensors.update(noise=np.ones(1)),
    ],
)
def test_networks_that_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any], dict[str, Any]], object]
) -> None:
    with pytest.raises(InputError, match="finite weights of 15"):
        load(rewritten(tmp_path / "e", change, with_network(made_learned())))


def test_files_that_are_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no estimator"):
        load(tmp_path / "missing")
    with pytest.raises(InputError, match="there is no estimator"):
        load(tmp_path)
    path = tmp_path / "x"
    path.write_bytes(b"words")
    with pytest.raises(InputError, match="cannot be read"):
        load(path)
    save_file({"weights": np.zeros(3)}, path)
    with pytest.raises(InputError, match="is no estimator"):
        load(path)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        save(tmp_path / "file" / "e", made_learned())


def test_examples_come_back(tmp_path: Path) -> None:
    example = made_example(0)
    path = tmp_path / "a" / "b"
    save_example(path, example)
    found = load_example(path)
    assert found is not None
    assert not hasattr(found, "effects")
    for name in ("features", "masks", "logprobs", "tokens"):
        assert (getattr(found, name) == getattr(example, name)).all()
    assert (found.name, found.modalities) == (example.name, example.modalities)


@pytest.mark.parametrize("cut", [0, 20, -5])
def test_a_damaged_example_is_made_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x"
    assert load_example(path) is None
    save_example(path, made_example(0))
    path.write_bytes(path.read_bytes()[:cut])
    assert load_example(path) is None


def test_learned_says_how_many_features() -> None:
    assert isinstance(made_learned(), Learned)
    assert made_learned(layers=(0, 2, 3), heads=4).features == 12


@pytest.mark.parametrize("about", ["[" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000, "[]", "NaN"])
def test_a_card_that_is_none(tmp_path: Path, about: str) -> None:
    save_file({"weights": np.zeros(3)}, tmp_path / "e", {"omnitrace": about})
    with pytest.raises(InputError, match=r"is no estimator"):
        load(tmp_path / "e")
