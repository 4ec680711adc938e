"""The signals are there after one install, and Captum is imported only when one of them runs."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from omnitrace import builtin
from omnitrace.errors import PluginError
from omnitrace.plugins.registry import build_registry, registry
from omnitrace.trace.trace import Trace
from tests.helpers.sample_traces import multimodal_trace
from tests.signals.captum.names import CAPTUM_SIGNALS

_LISTING = """
import sys
import omnitrace
from omnitrace.cli.app import main

sys.argv = ["omnitrace", "list", "signals"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {"captum", "torch", "sklearn"} & set(sys.modules)
assert not heavy, heavy
"""


def test_the_package_registers_all_six() -> None:
    found = build_registry({"omnitrace": builtin}).signals
    for name in CAPTUM_SIGNALS:
        assert found[name].package == "omnitrace"
        assert found[name].make().name == name


def test_they_are_listed_without_importing_captum() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LISTING], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    for name in CAPTUM_SIGNALS:
        assert rows[name][:5] == ["forwards", "many", "forwards", "no", "omnitrace"]


@pytest.mark.parametrize("name", CAPTUM_SIGNALS)
def test_the_plugins_name_is_unknown_and_the_new_one_is_named(name: str) -> None:
    with pytest.raises(PluginError, match=rf"unknown signal 'captum-{name}'.*mean.*'{name}'"):
        registry().signal(f"captum-{name}")


def test_a_parameter_that_does_not_exist_is_named() -> None:
    with pytest.raises(PluginError, match=r"'lime' of the package 'omnitrace'.*'sampels'"):
        registry().signal("lime").make(sampels=3)


def test_a_trace_that_the_plugin_made_still_loads(tmp_path: Path) -> None:
    trace = multimodal_trace()
    signal = {**trace.provenance.signal, "name": "captum-shapley", "package": "omnitrace-captum"}
    provenance = dataclasses.replace(trace.provenance, signal=signal)
    saved = dataclasses.replace(trace, provenance=provenance).save(tmp_path / "old.omnitrace")
    loaded = Trace.load(saved)
    assert loaded.provenance.signal == signal
    assert loaded.reselect(loaded.config).spans == loaded.spans
