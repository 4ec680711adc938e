"""Run folders: what is done stays done, what died is tried again and given up, nothing is mixed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from omnitrace.errors import GivenUpError, InputError, RunError
from omnitrace.runs import Shard, chosen, open_run
from omnitrace.sources import RequestProblem
from omnitrace.trace.request_record import read_record, request_name
from tests.helpers.sample_traces import text_trace
from tests.runs.conftest import ASKED, Open, adapter, die, request

TRACE = text_trace(["One."], "Which?", "One.")


def test_what_is_done_is_left_out(opened: Open) -> None:
    run, entries = opened(), [request("a b"), request("a_b"), request("A_B")]
    for entry in entries[:2]:
        assert run.begin(entry)
        path = run.done(entry, TRACE)
        assert request_name(Path(path)) == entry.id
    again = opened(bound=False)
    assert [*again.todo(entries)] == entries[2:]
    assert again.kept == 2
    assert not (Path(str(run.folder)) / "attempts").exists()


def test_a_dead_process_is_noticed_and_given_up(opened: Open) -> None:
    poison, other = request("poison"), request("b")
    for attempt in range(2):
        run = opened(attempts=2)
        todo = [*run.todo([poison, other])]
        assert todo == ([poison, other] if attempt == 0 else [other, poison])
        assert run.begin(poison)
        die(run)
    run = opened(attempts=2)
    with pytest.raises(GivenUpError, match=r"'poison' is given up.*--attempts 3"):
        run.begin(poison)
    with pytest.raises(GivenUpError):
        run.begin(poison)
    assert run.begin(request("poison", "Something else?")), "it was changed"
    assert opened(attempts=3).begin(request("b"))


def test_who_is_asked_to_stop_is_not_counted(opened: Open) -> None:
    entry = request("a")
    for _ in range(5):
        run = opened(attempts=1)
        assert run.begin(entry)
        run.abandoned(entry)
    assert opened(attempts=1).begin(entry)


@pytest.mark.parametrize("at", ["unlink", "rmdir"])
@pytest.mark.parametrize("how", ["done", "failed"])
def test_ctrl_c_while_a_request_ends_leaves_nothing_behind(
    opened: Open, monkeypatch: pytest.MonkeyPatch, at: str, how: str
) -> None:
    run, entry = opened(), request("a")
    assert run.begin(entry)
    real = getattr(Path, at)
    asked = []

    def interrupted(path: Path, **options: bool) -> None:
        if path.name == "attempts" or path.parent.name == "attempts":
            asked.append(path)
            if len(asked) == 1:
                raise KeyboardInterrupt
        real(path, **options)

    monkeypatch.setattr(Path, at, interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.done(entry, TRACE) if how == "done" else run.failed(entry, ValueError("no"))
    run.abandoned(entry)
    assert len(asked) == 2
    assert not (Path(str(run.folder)) / "attempts").exists()


def test_a_request_is_in_one_process_at_a_time(opened: Open) -> None:
    entry, one, other = request("a"), opened(), opened()
    assert one.begin(entry)
    assert not other.begin(entry)
    one.done(entry, TRACE)
    assert not other.begin(entry), "it was done meanwhile"
    failing = request("b")
    assert one.begin(failing)
    one.failed(failing, ValueError("no"))
    assert other.begin(failing)


def test_a_changed_request_is_refused_or_made_again(opened: Open) -> None:
    run = opened()
    run.begin(request("a"))
    run.done(request("a"), TRACE)
    changed = request("a", "Why?")
    (problem,) = opened().todo([changed])
    assert isinstance(problem, RequestProblem)
    assert "'a' was changed" in str(problem.error)
    assert [*opened(on_change="redo").todo([changed])] == [changed]


def test_changed_options_are_refused_or_made_again(opened: Open) -> None:
    run, entry = opened(), request("a")
    run.begin(entry)
    run.done(entry, TRACE)
    other = ASKED | {"signal": {"name": "grad-sam"}}
    with pytest.raises(RunError, match='signal was "attention-mean", now it is "grad-sam"'):
        opened(other)
    assert [*opened(other, on_change="redo").todo([entry])] == [entry]
    assert [*opened(other).todo([entry])] == [entry], "it goes on to be made again"
    with pytest.raises(RunError):
        opened()


def test_another_model_is_refused(opened: Open, tmp_path: Path) -> None:
    opened()
    run = open_run(tmp_path / "run", ASKED)
    with pytest.raises(RunError, match="with other weights"):
        run.bind(adapter(1))
    open_run(tmp_path / "run", ASKED, on_change="redo").bind(adapter(1))
    with pytest.raises(RunError, match="with other weights"):
        opened()


def test_everything_can_be_made_again(opened: Open) -> None:
    run, entry = opened(), request("a")
    run.begin(entry)
    run.done(entry, TRACE)
    again = opened(resume=False)
    assert [*again.todo([entry])] == [entry]
    again.begin(entry)
    again.done(entry, TRACE)
    assert [*opened().todo([entry])] == []


def test_what_no_run_wrote_stays(opened: Open, tmp_path: Path) -> None:
    run = opened(on_change="redo")
    (tmp_path / "run" / "a.omnitrace").write_bytes(b"no trace")
    TRACE.save(tmp_path / "run" / "b.omnitrace")
    problems = [*run.todo([request("a"), request("b")])]
    assert all(isinstance(each, RequestProblem) for each in problems)
    with pytest.raises(RunError, match="is not of this request and stays"):
        run.begin(request("a"))
    assert not (tmp_path / "run" / "attempts").exists()


def test_failures_are_noted_until_they_are_mended(opened: Open) -> None:
    run, entries = opened(), [request(name) for name in "abc"]
    for entry, error in zip(
        entries, (InputError("x"), KeyError("y"), InputError("z")), strict=True
    ):
        run.begin(entry)
        run.failed(entry, error)
    run.failed(RequestProblem("d", InputError("no JSON")), InputError("no JSON"))
    again = opened()
    assert [*again.todo(entries)] == entries
    again.begin(entries[0])
    again.done(entries[0], TRACE)
    summary = again.summary()
    assert summary.done == 1
    assert [(each.id, each.kind) for each in summary.failed] == [
        *(("b", "KeyError"), ("c", "InputError"), ("d", "InputError"))
    ]
    assert summary.given_up == ()


def test_a_run_travels(opened: Open) -> None:
    run = opened()
    run.begin(request("a"))
    sent = pickle.loads(pickle.dumps(run))
    assert sent.manifest == run.manifest
    assert sent.begin(request("b"))
    sent.done(request("b"), TRACE)
    assert [each.id for each in run.todo([request("b"), request("c")])] == ["c"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b"[]", "is not the manifest"),
        (b'{"format": "omnitrace-run", "version": 99}', "version 99"),
        (b'{"format": "omnitrace-run", "version": 1}', "does not say"),
    ],
)
def test_a_foreign_manifest_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RunError, match=message):
        open_run(tmp_path, ASKED)


def test_options_of_a_run_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="on_change is 'keep'"):
        open_run(tmp_path, ASKED, on_change="keep")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="attempts is 0"):
        open_run(tmp_path, ASKED, attempts=0)


def test_the_manifest_says_who_made_it(opened: Open) -> None:
    run = opened(input="/home/someone/requests.jsonl")
    plain = json.loads((Path(str(run.folder)) / "run.json").read_bytes())
    assert (plain["format"], plain["version"]) == ("omnitrace-run", 1)
    assert plain["input"] == "requests.jsonl"
    assert plain["model"]["name"] == "line"
    assert set(plain["versions"]) >= {"torch", "transformers"}


def test_a_trace_without_a_run_has_no_record(tmp_path: Path) -> None:
    path = TRACE.save(tmp_path / "x.omnitrace")
    assert read_record(path) is None
    assert request_name(path) == "x"
    assert read_record(tmp_path / "absent") is None


def test_shards_are_all_of_the_requests() -> None:
    parts = [[*chosen(range(10), limit=8, shard=Shard(i, 3))] for i in (1, 2, 3)]
    assert parts == [[0, 3, 6], [1, 4, 7], [2, 5]]
    assert [*chosen(range(4))] == [0, 1, 2, 3]
    assert Shard.parse("2/4") == Shard(2, 4)
    assert str(Shard(2, 4)) == "2/4"
    for wrong in ("0/2", "3/2", "1", "a/b", "1/2/3"):
        with pytest.raises(InputError, match="shard"):
            Shard.parse(wrong)
