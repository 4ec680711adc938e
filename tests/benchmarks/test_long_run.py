from pathlib import Path

import long_run


def test_defaults_depend_on_quick() -> None:
    assert long_run.parse([]).requests == 1000
    assert long_run.parse(["--quick"]).requests == 50


def test_requests_come_again_under_other_ids(tmp_path: Path) -> None:
    entries = [*long_run.requests(tmp_path, 10)]
    assert len({entry.id for entry in entries}) == 10
    assert entries[8].messages == entries[0].messages


def test_what_this_process_holds() -> None:
    held = long_run.Held.now()
    assert held.rss > 10_000_000
    assert held.threads >= 1
    assert held.handles >= 3
