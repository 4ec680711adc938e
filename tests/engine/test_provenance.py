"""What a trace says of the machine that made it: nothing of its folders."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from omnitrace import Tracer
from omnitrace.engine.provenance import _signal_record
from omnitrace.estimator import save
from omnitrace.estimator.signal import Estimator
from tests.helpers.estimators import made_learned
from tests.helpers.text_adapters import own_text_adapter

NOTE = "The lamp costs two coins. The key costs nine coins."
MESSAGES = [{"role": "user", "content": [{"type": "text", "text": NOTE}]}]


def test_no_folder_of_this_machine_is_in_a_trace_or_its_report(tmp_path: Path) -> None:
    adapter = own_text_adapter()
    adapter.source = str(tmp_path / "ada" / "tiny")
    trace = Tracer(adapter=adapter, signal="attention-mean").trace(MESSAGES, max_new_tokens=4)
    assert trace.provenance.model == "tiny"
    page = trace.to_html(tmp_path / "page.html")
    for text in (json.dumps(trace.to_dict()), Path(page).read_text(encoding="utf-8")):
        assert str(tmp_path) not in text


def test_the_file_of_an_estimator_is_named_without_its_folder(tmp_path: Path) -> None:
    signal = Estimator(save(tmp_path / "own.safetensors", made_learned()))
    setup = Tracer(adapter=own_text_adapter(), signal="attention-mean").setup
    setup = dataclasses.replace(setup, signals=setup.signals._replace(span=signal))
    parameters = _signal_record(setup, sorted(setup.layers))["parameters"]
    assert parameters["path"] == "own.safetensors"
