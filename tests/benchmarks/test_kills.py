import json
from pathlib import Path

import kills


def test_defaults_depend_on_quick() -> None:
    full, quick = kills.parse([]), kills.parse(["--quick"])
    assert (full.requests, full.kills) == (60, 10)
    assert (quick.requests, quick.kills) == (12, 2)


def test_one_request_is_poison(tmp_path: Path) -> None:
    path = kills.write_requests(tmp_path / "a.jsonl", 12, poison=4)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({line["id"].casefold() for line in lines}) < len(lines)
    texts = [line["messages"][0]["content"][0]["text"] for line in lines]
    assert [kills.POISON in text for text in texts].index(True) == 4
    assert len(set(texts)) == 12
