"""Malformed inputs of every kind end in an answer or an error in words."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.case import CATEGORIES, drawn
from tests.fuzz.corpus import SOURCES
from tests.fuzz.mutate import RAW, damaged, drop, mutated, places, put, to_json

ROOT = Path(__file__).parents[2]
NUMBER = 64  # `make fuzz` runs more than thirty times as many, and so does CI


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="watches memory in /proc")
@pytest.mark.timeout(280)
def test_malformed_inputs() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--number", str(NUMBER), "--seconds", "60"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert f"{NUMBER} inputs in" in done.stdout


def test_the_same_seed_draws_the_same_inputs() -> None:
    first = [case.id for case in drawn(SOURCES, 1, 300)]
    assert first == [case.id for case in drawn(SOURCES, 1, 300)]
    assert first != [case.id for case in drawn(SOURCES, 2, 300)]
    assert len(first) == 300
    assert {case.split(":")[0] for case in first} == set(CATEGORIES)
    assert sum(1 for _ in drawn(SOURCES, 1, 2400)) == 2400


def test_all_that_is_known_is_tried_in_the_full_run() -> None:
    known = {case.id for source in SOURCES.values() for case in source.known()}
    assert known <= {case.id for case in drawn(SOURCES, 1, 2400)}


def test_changes_of_a_document() -> None:
    document = {"a": [1, {"b": 2}]}
    assert places(document) == [(), ("a",), ("a", 0), ("a", 1), ("a", 1, "b")]
    assert put(document, ("a", 1, "b"), 3) == {"a": [1, {"b": 3}]}
    assert drop(document, ("a", 0)) == {"a": [{"b": 2}]}
    assert document == {"a": [1, {"b": 2}]}
    assert to_json({"a": RAW + '{"b": 1e999}', "c": "\ud800"}) == (
        b'{"a": {"b": 1e999}, "c": "\xed\xa0\x80"}'
    )
    for state in range(50):
        to_json(mutated(document, random.Random(state))[1])
        assert damaged(b"0123456789", random.Random(state))[1] != b"0123456789"
