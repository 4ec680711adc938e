"""Devices that are not there are refused before anything is loaded."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from omnitrace import InputError, Tracer
from omnitrace.models.devices import checked_device, usual_device


def test_the_processor_is_there() -> None:
    assert checked_device("cpu") == torch.device("cpu")
    assert checked_device(torch.device("cpu")) == torch.device("cpu")
    assert checked_device(usual_device()).type in ("cpu", "cuda")


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x"])
def test_what_is_no_device_is_refused(device: str) -> None:
    with pytest.raises(InputError, match=r"Legal: a name of torch's, such as cpu, cuda or cuda:1"):
        checked_device(device)


@pytest.mark.parametrize("device", ["cuda:99", torch.device("cuda", 99), "mps:7"])
def test_a_device_that_is_not_there_is_refused(device: Any) -> None:
    with pytest.raises(InputError, match=f"torch finds no device '{device}' here. Legal: cpu"):
        Tracer.from_pretrained("no-such-model", device=device)


def test_one_way_to_place_a_model() -> None:
    with pytest.raises(InputError, match="device and device_map are given"):
        Tracer.from_pretrained("no-such-model", device="cpu", device_map="auto")


@pytest.mark.parametrize("device", ["meta", "meta:0", torch.device("meta")])
def test_nothing_is_computed_on_meta(device: Any) -> None:
    with pytest.raises(InputError, match="the device is 'meta', where nothing is computed"):
        Tracer.from_pretrained("no-such-model", device=device)
