"""``omnitrace replay``: responses of a server, matched with their requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omnitrace import Trace, Tracer
from tests.helpers.command_line import Run
from tests.helpers.server_responses import chat

NOTE = "The cup weighs five grams. The key weighs eight grams."
QUESTIONS = {"cup": "What does the cup weigh?", "key": "What does the key weigh?"}


def messages(question: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": t} for t in (NOTE, question)]}]


@pytest.fixture(scope="module")
def live(reference: Tracer) -> dict[str, Trace]:
    return {name: reference.trace(messages(asked)) for name, asked in QUESTIONS.items()}


def written(path: Path, *lines: Any) -> Path:
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    return path


def test_the_batch_api_there_and_back(run: Run, tmp_path: Path, live: dict[str, Trace]) -> None:
    asked = written(
        tmp_path / "asked.jsonl",
        *(
            {"custom_id": name, "url": "/v1/chat/completions", "body": {"messages": messages(text)}}
            for name, text in QUESTIONS.items()
        ),
    )
    bodies = {
        name: chat({"content": "?"}, {"content": trace.text, "token_ids": trace.token_ids})
        for name, trace in live.items()
    }
    answered = written(
        tmp_path / "answered.jsonl",
        *(
            {"custom_id": name, "response": {"status_code": 200, "body": body.model_dump()}}
            for name, body in reversed(bodies.items())
        ),
    )
    result = run(
        *("replay", asked, "--responses", answered, "--choice", "1"),
        *("--signal", "attention-mean", "--out", tmp_path / "out"),
    )
    assert result.exit_code == 0, result.stderr
    for name, trace in live.items():
        found = Trace.load(tmp_path / "out" / f"{name}.omnitrace")
        assert found.token_ids == trace.token_ids
        assert found.provenance.generation["response_ids"] == "given"
        supports = [[s.unit.id for s in span.supports] for span in found.spans]
        assert supports == [[s.unit.id for s in span.supports] for span in trace.spans]


def test_what_does_not_match_is_named_and_the_others_go_on(
    run: Run, tmp_path: Path, live: dict[str, Trace]
) -> None:
    asked = written(
        tmp_path / "asked.jsonl",
        *({"id": name, "messages": messages(text)} for name, text in QUESTIONS.items()),
    )
    answered = written(
        tmp_path / "answered.jsonl",
        {"id": "key", "response": live["key"].text},
        {"id": "old", "response": "A lamp."},
    )
    common = ("--signal", "attention-mean", "--json")
    result = run("replay", asked, "--responses", answered, *common)
    assert result.exit_code == 2
    assert "no request has the id of 1 responses: old" in result.stderr
    assert "cup: " in result.stderr
    assert "has no response with the id 'cup'" in result.stderr
    *_, line = result.stdout.splitlines()
    assert json.loads(line)["text"] == live["key"].text
    doubled = written(tmp_path / "doubled.jsonl", *[{"id": "key", "response": "A lamp."}] * 2)
    result = run("replay", asked, "--responses", doubled, *common)
    assert result.exit_code == 2
    assert "line 2 has the id 'key' again, of line 1" in result.stderr
