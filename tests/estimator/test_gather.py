"""Examples that other processes make teach what those of one process teach."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from omnitrace import Tracer
from omnitrace.errors import GivenUpError, InputError, OmnitraceError
from omnitrace.estimator import Collector, Spread, train_estimator
from omnitrace.sources import RequestProblem
from tests.helpers.estimator_training import OPTIONS, request_of
from tests.helpers.executors import Death, InProcess
from tests.helpers.text_adapters import text_adapter


def tiny() -> Tracer:
    return Tracer(adapter=text_adapter(), signal="attention-mean")


def test_the_estimator_is_the_same(tmp_path: Path) -> None:
    bad = RequestProblem("bad", InputError("no request"))
    entries = [*(request_of(i) for i in range(4)), bad, request_of(9, sentences=1)]
    plainly: dict[str, OmnitraceError] = {}
    spread: dict[str, OmnitraceError] = {}
    plain = train_estimator(tiny(), entries, OPTIONS, failed=plainly.__setitem__)
    found = train_estimator(
        tiny(),
        entries,
        OPTIONS,
        cache=tmp_path,
        failed=spread.__setitem__,
        spread=Spread(InProcess(), tiny),
    )
    assert found.fitted.weights.tobytes() == plain.fitted.weights.tobytes()
    assert found.card.training == plain.card.training
    assert set(spread) == set(plainly) == {"bad", "r9"}
    assert not (tmp_path / "attempts").exists()


def test_a_request_that_ends_its_process_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Collector._look

    def poisoned(self: Collector, request: Any, asked: Any) -> Any:
        if request.id == "r1":
            raise Death
        return make(self, request, asked)

    monkeypatch.setattr(Collector, "_look", poisoned)
    monkeypatch.setattr("omnitrace.runs.folder._LocalClaim.withdraw", _closed)  # nobody cleans up
    failed: dict[str, OmnitraceError] = {}
    found = train_estimator(
        tiny(),
        [request_of(i) for i in range(4)],
        OPTIONS,
        cache=tmp_path,
        failed=failed.__setitem__,
        spread=Spread(InProcess(), tiny, attempts=2),
    )
    assert found.card.training.examples + found.card.training.held_out == 3
    assert isinstance(failed["r1"], GivenUpError)


def _closed(claim: Any) -> None:
    os.close(claim._handle)


def test_several_processes_need_a_folder() -> None:
    with pytest.raises(InputError, match=r"nothing is kept.*cache="):
        train_estimator(
            tiny(), [request_of(i) for i in range(3)], OPTIONS, spread=Spread(InProcess(), tiny)
        )
