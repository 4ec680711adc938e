"""``omnitrace estimator``: train and show, with an untrained model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnitrace.estimator import load
from tests.helpers.command_line import Run
from tests.helpers.text_adapters import text_adapter

Lines = Callable[..., Path]
FEW = ("--masks", "4", "--evaluation-masks", "4", "--max-new-tokens", "6")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny untrained text model."""
    adapter = text_adapter()
    folder = tmp_path_factory.mktemp("small")
    adapter.model.save_pretrained(folder)
    adapter.tokenizer.save_pretrained(folder)
    return str(folder)


def entry(number: int, text: str = "") -> dict[str, Any]:
    note = (
        text or f"The lamp weighs {number} grams. The cup weighs nine grams. Rain fell. It froze."
    )
    texts = [{"type": "text", "text": each} for each in (note, "What does the lamp weigh?")]
    return {
        "id": f"r{number}",
        "messages": [{"role": "user", "content": texts}],
        "response": "The lamp weighs ten grams. The cup is lighter.",
    }


def test_train_and_show(run: Run, small: str, write_lines: Lines, tmp_path: Path) -> None:
    path = write_lines(*(entry(i) for i in range(4)))
    out = tmp_path / "deep" / "e.safetensors"
    command = ("estimator", "train", "--model", small, "--requests", path, "--out", out, *FEW)
    result = run(*command, "--keep-rates", "0.5, 0.6")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == f"omnitrace: wrote {out}\n"
    assert "attention-mean" in result.stdout
    card = load(out).card
    assert card.training.keep_rates == (0.5, 0.6)
    assert card.model.name == Path(small).name
    assert (out.parent / "e.safetensors.cache" / "examples").is_dir()
    shown = run("estimator", "show", out)
    assert shown.exit_code == 0
    assert shown.stdout == result.stdout
    for told in (card.model.fingerprint, "3 requests, 6 sentences", "keeping 0.5, 0.6", "shares"):
        assert told in shown.stdout
    document = json.loads(run("estimator", "show", out, "--json").stdout)
    assert document["training"]["data"] == card.training.data


def test_a_network_is_trained(run: Run, small: str, write_lines: Lines, tmp_path: Path) -> None:
    path = write_lines(*(entry(i) for i in range(3)))
    out = tmp_path / "e"
    command = ("estimator", "train", "--model", small, "--requests", path, "--out", out, *FEW)
    result = run(*command, "--fit", "mlp")
    assert result.exit_code == 0, result.stderr
    learned = load(out)
    assert learned.card.fit.kind == "mlp"
    assert learned.fitted.network is not None


def test_other_features_and_fits(run: Run, small: str, write_lines: Lines, tmp_path: Path) -> None:
    path = write_lines(*(entry(i) for i in range(3)))
    out = tmp_path / "e"
    result = run(
        *("estimator", "train", "--model", small, "--requests", path, "--out", out, *FEW),
        *("--fit", "nnls", "--reduction", "mean", "--raw", "--values", "--layers", "1,2"),
        *("--operator", "mean", "--cache", tmp_path / "kept", "--pooling", "max", "--rollout"),
        *("--gradients", "total", "--noise", "0.5"),
        *("--image-units", "ward:regions=20", "--audio-units", "changes"),
    )
    assert result.exit_code == 0, result.stderr
    card = load(out).card
    assert (card.recipe.reduction, card.recipe.normalise) == ("mean", "raw")
    assert card.recipe.values
    assert (card.recipe.pooling, card.recipe.rollout) == ("max", True)
    assert (card.recipe.gradients, card.fit.noise) == ("total", 0.5)
    assert card.model.layers == (1, 2)
    assert (card.fit.kind, card.training.operator) == ("nnls", "mean")
    assert (tmp_path / "kept" / "effects").is_dir()
    assert card.sources["image"]["name"] == "ward"
    assert "image ward:regions=20," in " ".join(result.stdout.split())
    traced = ("trace", path, "--model", small, "--estimator", out, "--max-new-tokens", "2")
    refused = run(*traced)
    assert refused.exit_code == 2
    assert "trained on units cut with audio=" in refused.stderr
    assert (
        run(*traced, "--image-units", "ward:regions=20", "--audio-units", "changes").exit_code == 0
    )


def test_an_estimator_of_finished_answers(
    run: Run, small: str, write_lines: Lines, tmp_path: Path
) -> None:
    path = write_lines(*(entry(i) for i in range(3)))
    out = tmp_path / "e"
    command = ("estimator", "train", "--model", small, "--requests", path, "--out", out, *FEW)
    result = run(*command, "--mask-gradient")
    assert result.exit_code == 0, result.stderr
    card = load(out).card
    assert card.recipe.mask_gradient
    assert card.fit.noise == 0
    assert "and the gradient of a mask" in " ".join(result.stdout.split())
    traced = ("trace", path, "--model", small, "--estimator", out, "--max-new-tokens", "2")
    result = run(*traced, "--json")
    assert result.exit_code == 0, result.stderr
    assert '"effects"' in result.stdout


def test_bad_requests_are_told(run: Run, small: str, write_lines: Lines, tmp_path: Path) -> None:
    path = write_lines("{no json", entry(9, "Only one."), *(entry(i) for i in range(4)))
    out = tmp_path / "e"
    result = run("estimator", "train", "--model", small, "--requests", path, "--out", out, *FEW)
    assert result.exit_code == 2
    assert "r9: the request has 1 units" in result.stderr
    assert "2 of 6 requests could not be used" in result.stderr
    assert load(out).card.training.examples >= 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--fit", "lasso"), "the fit is 'lasso'"),
        (("--reduction", "max"), "--reduction is 'max'"),
        (("--pooling", "sum"), "--pooling is 'sum'"),
        (("--gradients", "all"), "--gradients is 'all'"),
        (("--gradients", "heads", "--mask-gradient"), "both --gradients heads and --mask-gradient"),
        (("--keep-rates", "half"), "--keep-rates is 'half'"),
        (("--keep-rates", "0"), "the keep rates are [0.0]"),
        (("--layers", "a"), "--layers is 'a'"),
        (("--layers", "99"), "the estimator looks at the layers [99]"),
        (("--held-out", "1"), "held_out is 1.0"),
        (("--operator", "magic"), "unknown operator 'magic'"),
        (("--image-units", "magic"), "SourceOptions.image is 'magic'"),
    ],
)
def test_mistakes(
    run: Run,
    small: str,
    write_lines: Lines,
    tmp_path: Path,
    options: tuple[str, ...],
    message: str,
) -> None:
    path = write_lines(*(entry(i) for i in range(3)))
    result = run(
        *("estimator", "train", "--model", small, "--requests", path, "--out", tmp_path / "e"),
        *options,
    )
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize("where", ["out", "cache"])
def test_places_that_cannot_be_made(
    run: Run, small: str, write_lines: Lines, tmp_path: Path, where: str
) -> None:
    path = write_lines(*(entry(i) for i in range(3)))
    places = {"out": tmp_path / "e", "cache": tmp_path / "kept"} | {where: path / "x" / "y"}
    result = run(
        *("estimator", "train", "--model", small, "--requests", path, *FEW),
        *("--out", places["out"], "--cache", places["cache"]),
    )
    assert result.exit_code == 2
    assert "cannot write" in result.stderr or "cannot make the folder" in result.stderr
    assert "Traceback" not in result.stderr


def test_files_that_are_none(run: Run, write_lines: Lines, tmp_path: Path) -> None:
    missing = run("estimator", "show", tmp_path / "none")
    assert missing.exit_code == 2
    assert "there is no estimator" in missing.stderr
    folder = run(
        *("estimator", "train", "--requests", write_lines(entry(0)), "--out", tmp_path),
    )
    assert folder.exit_code == 2
    assert "Is a directory" in folder.stderr
