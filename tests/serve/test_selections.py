"""Selecting the supports of a run again, and saving what was selected."""

from __future__ import annotations

import json
from pathlib import Path

from starlette.testclient import TestClient

from omnitrace import Trace
from tests.serve.client import ask, events_of


def test_supports_are_selected_again_and_saved_so(client: TestClient, tmp_path: Path) -> None:
    run = ask(client)
    events_of(client, run)
    asked = {"min_grounding": 1.0}
    shown = client.post(f"/api/runs/{run}/selection", json=asked).json()
    assert shown["view"]["spans"][0]["supports"] == []
    assert shown["selection"]["min_grounding"] == 1.0
    assert client.get(f"/api/runs/{run}").json()["view"]["spans"][0]["supports"] != []
    for query, supported in (({}, True), ({"selection": json.dumps(asked)}, False)):
        saved = client.get(f"/api/runs/{run}/trace.omnitrace", params=query)
        (tmp_path / "saved.omnitrace").write_bytes(saved.content)
        assert bool(Trace.load(tmp_path / "saved.omnitrace").spans[0].supports) is supported
        table = client.get(f"/api/runs/{run}/export/csv", params=query).text
        assert ("message-0-part-" in table) is supported
        report = client.get(f"/api/runs/{run}/report.html", params=query).text
        assert ("no source found" in report.split("<script")[0]) is not supported


def test_a_selection_that_is_none_is_refused(client: TestClient) -> None:
    run = ask(client)
    events_of(client, run)
    for selection in ("[]", "{", '{"p_min": 2}', '{"unknown": 1}'):
        answer = client.get(f"/api/runs/{run}/export/csv", params={"selection": selection})
        assert answer.status_code == 400, selection
        assert answer.json()["error"]["legal"]
