"""``kill -9`` at random moments in a run of the command line, and a request that kills its process.

A run of 60 requests of the reference model, texts only, is killed ten times and given again each
time; its supports must be those of an unbroken run to the bit. In a second run one request ends
the process whenever it is traced; the others must be done, and it must be named, exit code 1.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from common.report import Bar, BenchmarkError, Result, Table, fill_in, parser, run_benchmark
from omnitrace.trace.request_record import read_record
from omnitrace.trace.trace import Trace

COLOURS: Final = ("red", "blue", "green", "black", "white", "grey")
THINGS: Final = ("lamp", "rope", "cup", "boat", "door", "coat", "drum", "flag", "hat", "bell")
POISON: Final = "poison"
POISON_ID: Final = "poison {}"
NAMES: Final = ("q {}", "Q {}")  # which some file systems take for one
_COLUMNS: Final = ("run", "requests", "processes", "done", "exit code", "begun again", "same bits")

#: The command line, which notes what is begun and what is written, and dies of poison.
CHILD: Final = """
import os, signal, sys
from omnitrace.cli.app import main
from omnitrace.trace.trace import Trace
from omnitrace.tracer import Tracer

log = sys.argv.pop(1)

def note(word, text):
    with open(log, "a") as file:
        file.write(f"{word} {text}\\n")

stream, save = Tracer.stream, Trace.save

def noted_stream(self, messages, **options):
    note("began", messages[0]["content"][0]["text"])
    if "poison" in messages[0]["content"][0]["text"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return stream(self, messages, **options)

def noted_save(self, path, **options):
    found = save(self, path, **options)
    note("saved", self.messages[0]["content"][0]["text"])
    return found

Tracer.stream, Trace.save = noted_stream, noted_save
sys.argv = ["omnitrace", *sys.argv[1:]]
main()
"""


def write_requests(path: Path, count: int, *, poison: int | None = None) -> Path:
    """Write requests about facts; some file systems would take two ids for one."""
    lines = []
    for number in range(count):
        thing = THINGS[number % len(THINGS)]
        colour = COLOURS[number // len(THINGS) % len(COLOURS)]
        fact = f"The {thing} is {colour}. The key is {number}."
        if number == poison:
            fact = f"The {POISON} is {colour}."
        content = [
            {"type": "text", "text": fact},
            {"type": "text", "text": f"What colour is the {thing}?"},
        ]
        name = (
            POISON_ID.format(number) if number == poison else NAMES[number % 2].format(number // 2)
        )
        lines.append({"id": name, "messages": [{"role": "user", "content": content}]})
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def start(requests: Path, out: Path, log: Path) -> subprocess.Popen[str]:
    options = ("--model", "reference", "--no-verify", "--max-new-tokens", "8")
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            CHILD,
            str(log),
            "trace",
            str(requests),
            *options,
            "--out",
            str(out),
            "--json",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def traces_in(out: Path) -> int:
    return len([*out.glob("*.omnitrace")])


def supports(out: Path) -> dict[str, Any]:
    """Return by request what supports each span, with all its figures, and the scores' bytes."""
    found = {}
    for path in out.glob("*.omnitrace"):
        record = read_record(path)
        assert record is not None
        trace = Trace.load(path)
        spans = json.dumps(trace.to_dict()["spans"], sort_keys=True)
        found[record.id] = spans, trace.scores.tobytes()
    return found


def unbroken(folder: Path, requests: Path) -> tuple[float, float]:
    """Run once without a kill; return the seconds up to the first trace, and those of a request."""
    begun = time.monotonic()
    with start(requests, folder / "whole", folder / "whole.log") as process:
        first = 0.0
        while process.poll() is None:
            if not first and traces_in(folder / "whole"):
                first = time.monotonic() - begun
            time.sleep(0.05)
        errors = process.stderr.read() if process.stderr else ""
        if process.returncode:
            raise BenchmarkError(f"the run that nobody killed failed: {errors[-500:]}")
    count = traces_in(folder / "whole")
    return first, (time.monotonic() - begun - first) / max(1, count - 1)


def killed(folder: Path, requests: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill a run again and again, and compare it with the unbroken one."""
    loading, each = unbroken(folder, requests)
    draw = random.Random(seed)
    out, log = folder / "killed", folder / "killed.log"
    count = traces_in(folder / "whole")
    done = []
    for _ in range(kills):
        delay = draw.uniform(0.5 * loading, loading + 1.2 * count / kills * each)
        with start(requests, out, log) as process:
            try:
                process.wait(delay)
            except subprocess.TimeoutExpired:
                process.kill()
        done.append(traces_in(out))
        print(f"killed after {delay:.1f} s: {done[-1]} of {count} traces", flush=True)
    with start(requests, out, log) as process:
        errors = process.communicate()[1]
    words = [line.split(" ", 1) for line in log.read_text(encoding="utf-8").splitlines()]
    begun = Counter(text for word, text in words if word == "began")
    saved = Counter(text for word, text in words if word == "saved")
    return {
        "requests": count,
        "kills": kills,
        "done_after_each_kill": done,
        "exit_code": process.returncode,
        "said": errors.strip().splitlines()[-2:],
        "equal_to_the_bit": supports(out) == supports(folder / "whole"),
        "begun_again": sum(begun.values()) - len(begun),
        "done_twice_or_more": sum(times > 1 for times in saved.values()),
    }


def poisoned(folder: Path, count: int) -> dict[str, Any]:
    """Give a run with one request that kills its process until it ends by itself."""
    requests = write_requests(folder / "poisoned.jsonl", count, poison=count // 3)
    out, log = folder / "poisoned", folder / "poisoned.log"
    codes: list[int] = []
    errors = ""
    while not codes or codes[-1] < 0:
        with start(requests, out, log) as process:
            errors = process.communicate()[1]
        codes.append(process.returncode)
        print(f"exit code {codes[-1]}: {traces_in(out)} of {count} traces", flush=True)
    return {
        "requests": count,
        "exit_codes": codes,
        "done": traces_in(out),
        "said": errors.strip().splitlines()[-1],
    }


def measure(given: argparse.Namespace) -> Result:
    """Kill one run, poison another."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        requests = write_requests(folder / "requests.jsonl", given.requests)
        one = killed(folder, requests, given.kills, given.seed)
        other = poisoned(folder, given.requests)
    codes = other["exit_codes"]
    named = POISON_ID.format(given.requests // 3) in other["said"]
    return Result(
        name="kills",
        title="Runs that are killed, and go on",
        quick=given.quick,
        table=Table(
            _COLUMNS,
            [
                [
                    "killed at random",
                    str(one["requests"]),
                    str(given.kills + 1),
                    str(one["done_after_each_kill"][-1]) + " before the last process",
                    str(one["exit_code"]),
                    str(one["begun_again"]),
                    "yes" if one["equal_to_the_bit"] else "no",
                ],
                [
                    "one request kills",
                    str(other["requests"]),
                    str(len(codes)),
                    str(other["done"]),
                    str(codes[-1]),
                    str(len(codes) - 1),
                    "",
                ],
            ],
        ),
        notes=[
            "`omnitrace trace` with the reference model, 8 tokens a response; kill -9 at "
            f"moments drawn uniformly (seed {given.seed}) from half of the loading time on",
            "same bits: supports with all figures, and the scores, of a run that nobody killed",
            "begun again: how often a request was begun once more, at most once for each kill",
            f"the last words of the second: {other['said']}",
        ],
        bars=[
            Bar("requests that were done twice", float(one["done_twice_or_more"]), 1.0),
            Bar(
                "requests begun again beyond the kills", float(one["begun_again"] - given.kills), 0
            ),
            Bar(
                "killed run: supports or scores that differ", float(not one["equal_to_the_bit"]), 0
            ),
            Bar(
                "poisoned run: others that are missing",
                float(given.requests - 1 - other["done"]),
                0,
            ),
            Bar(
                "poisoned run: not named, or another exit code",
                float(not named or codes[-1] != 1),
                0,
            ),
        ],
        settings={name: getattr(given, name) for name in ("requests", "kills", "seed")},
        values={"killed": one, "poisoned": other},
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    made = parser("Kill runs, and let them go on.")
    made.add_argument("--requests", type=int, help="by default 60, quick 12")
    made.add_argument("--kills", type=int, help="by default 10, quick 2")
    made.add_argument("--seed", type=int, default=0, help="of the moments (%(default)s)")
    given = made.parse_args(arguments)
    return fill_in(
        given, {"requests": 12, "kills": 2} if given.quick else {"requests": 60, "kills": 10}
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
