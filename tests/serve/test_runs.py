"""A run from the request to its end, as the page sees it."""

from __future__ import annotations

from starlette.testclient import TestClient

from omnitrace import Tracer
from tests.serve.client import ASKED, OTHER_KEY, ask, events_of


def test_events_come_in_order_and_end_with_the_trace(client: TestClient, reference: Tracer) -> None:
    run = ask(client)
    events = events_of(client, run)
    types = [event.type for event in events]
    assert types[0] in ("queued", "started")
    assert types[-1] == "end"
    assert types.index("units") < types.index("token") < types.index("span")
    numbers = [event.number for event in events]
    assert numbers == sorted(set(numbers))
    trace = reference.trace(ASKED["messages"])
    text = "".join(event.data["text"] for event in events if event.type == "token")
    assert text == trace.text
    (span,) = [event.data for event in events if event.type == "span"]
    units = next(event.data["units"] for event in events if event.type == "units")
    named = [units[support["unit"]]["id"] for support in span["supports"]]
    assert named == [support.unit.id for support in trace.spans[0].supports]
    assert events[-1].data["finished"]


def test_a_reload_finds_the_run_again(client: TestClient) -> None:
    run = ask(client)
    first = events_of(client, run)
    again = events_of(client, run)
    passing = ("queued", "provisional")  # kept until the next one
    assert [event for event in again if event.type not in passing] == [
        event for event in first if event.type not in passing
    ]
    rest = events_of(client, run, after=first[-3].number)
    assert rest == first[-2:]
    listed = client.get("/api/runs").json()["runs"]
    assert [each["run"] for each in listed if each["run"] == run] == [run]
    shown = client.get(f"/api/runs/{run}").json()
    assert shown["state"] == "done"
    assert shown["view"]["spans"]


def test_two_clients_never_see_each_others_runs(client: TestClient) -> None:
    run = ask(client)
    other = {"X-Omnitrace-Client": OTHER_KEY}
    assert client.get("/api/runs", headers=other).json() == {"runs": []}
    for method, path in (
        ("GET", f"/api/runs/{run}"),
        ("GET", f"/api/runs/{run}/events"),
        ("POST", f"/api/runs/{run}/cancel"),
        ("POST", f"/api/runs/{run}/verify"),
        ("DELETE", f"/api/runs/{run}"),
    ):
        answer = client.request(method, path, headers=other)
        assert answer.status_code == 404, path
        assert answer.json()["error"]["code"] == "not_found"
    assert events_of(client, run)[-1].type == "end"


def test_supports_are_verified_on_demand(client: TestClient) -> None:
    run = ask(client)
    end = events_of(client, run)[-1]
    assert not end.data["verified"]
    assert client.post(f"/api/runs/{run}/verify").status_code == 200
    events = events_of(client, run, after=end.number)
    assert [event.type for event in events if event.type != "verifying"] == ["end"]
    assert events[-1].data["verified"]
    assert events[-1].data["spans"][0]["verdict"] == "supported"
    assert client.get(f"/api/runs/{run}").json()["view"]["verified"]
