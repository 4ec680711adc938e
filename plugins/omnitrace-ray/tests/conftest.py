"""One Ray of this machine for all tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest
import ray
import torch

from omnitrace import Tracer

os.environ["HF_HUB_OFFLINE"] = "1"

# One thread everywhere, here and in the processes of Ray: more would sum in another order.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """Start Ray with two cores and little memory."""
    folder = tempfile.mkdtemp(prefix="ray-")  # short: a socket's path has about 100 letters
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=0,
        include_dashboard=False,
        object_store_memory=100_000_000,
        log_to_driver=False,
        logging_level="error",
        _temp_dir=folder,
    )
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def tracer() -> Tracer:
    """Return a tracer of the reference model in the package, without verification."""
    return Tracer.from_pretrained("reference", signal="attention-mean")
