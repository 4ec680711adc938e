"""Attention of selected heads equals the mean of their eager rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from omnitrace import InputError, Tracer
from omnitrace.ablation.cache import model_fingerprint
from omnitrace.capture.attention_hooks import attention_modules, tapped
from omnitrace.capture.decode import RowCapture
from omnitrace.signals import HeadSelection, SelectedHeads, load_heads
from omnitrace.signals.resolution import resolve
from tests.helpers.attention_rows import absolute, eager_rows
from tests.helpers.tiny_models import PROMPT, tiny

NEW = 4


def selection(*heads: tuple[int, int], **changes: Any) -> HeadSelection:
    facts = {
        "model": "m",
        "fingerprint": "0" * 64,
        "heads": heads,
        "scores": (0.5,) * len(heads),
        "all_heads": 0.1,
        "examples": "copied",
        "requests": 1,
        "statements": 4,
        "seed": 0,
        "versions": {},
        "created": "",
    }
    return HeadSelection(**(facts | changes))


def test_the_mean_over_these_heads_of_these_layers() -> None:
    heads = [(1, 2), (0, 1), (1, 0)]
    signal = SelectedHeads(selection(*heads))
    model = tiny("llama")
    modules = attention_modules(model.get_decoder())
    read = signal.layers(range(len(modules)))
    assert read == [0, 1]
    capture = RowCapture(read, 10)
    with tapped(model, [modules[layer] for layer in read], capture.taps):
        model.generate(**PROMPT, max_new_tokens=NEW, do_sample=False)
        scores = signal.score(capture.rows(NEW))
    _, rows = eager_rows(tiny("llama"), PROMPT, NEW)
    for step, layers in enumerate(rows):
        context = 10 + step
        expected = torch.stack([absolute(layers[at], context)[0][head] for at, head in heads])
        torch.testing.assert_close(scores[step, :context], expected.mean(0), atol=1e-5, rtol=0)


def test_only_the_layers_of_the_heads_are_read() -> None:
    assert SelectedHeads(selection((5, 0), (2, 3), (5, 1))).layers(range(8)) == [2, 5]


def test_a_file_is_read_back_as_a_signal(tmp_path: Path) -> None:
    path = tmp_path / "heads.json"
    chosen = selection((1, 2), (0, 1))
    path.write_text(chosen.model_dump_json(), encoding="utf-8")
    signal = load_heads(path)
    assert signal.selection == chosen
    assert resolve(signal).token is signal
    assert signal.parameters["heads"] == [[1, 2], [0, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "the file: Invalid JSON"), ("{}", "model: Field required"), ('{"heads": []}', "heads")],
)
def test_what_is_no_such_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "heads.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_heads(path)
    with pytest.raises(InputError, match="cannot read"):
        load_heads(tmp_path / "absent.json")


def test_another_model_is_refused(reference: Tracer) -> None:
    with pytest.raises(InputError, match="the heads were chosen for 'm', and 'reference' has"):
        reference.with_options(signal=SelectedHeads(selection((0, 0))))
    fingerprint = model_fingerprint(reference.adapter.model)
    layer = min(reference.setup.layers)
    signal = SelectedHeads(selection((layer, 0), fingerprint=fingerprint))
    assert reference.with_options(signal=signal).setup.signals.token is signal
