"""``kill -9`` at random moments in a run of the command line, and a request that kills its process.

A run of 60 requests of the reference model, texts only, is killed ten times and given again each
time; its supports must be those of an unbroken run to the bit. In a second run one request ends
the process whenever it is traced; the others must be done, and it must be named, exit code 1.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
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


class Process:
    """The command line in a fork of this process, which has loaded the model.

    So a kill meets requests, and not the minute that a model may take to load.
    """

    def __init__(self, tracer: Any, requests: Path, out: Path, log: Path) -> None:
        self.said = log.with_suffix(".err")
        self.code: int | None = None
        sys.stdout.flush()
        self._id = os.fork()
        if self._id == 0:
            try:
                _run(tracer, requests, out, log, self.said)
            finally:
                os._exit(99)

    def wait(self, seconds: float = math.inf) -> int | None:
        """Return the exit code, negative after a signal; None if it still runs then."""
        until = time.monotonic() + seconds
        while self.code is None:
            found, status = os.waitpid(self._id, os.WNOHANG)
            if found:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= until:
                break
            else:
                time.sleep(0.01)
        return self.code

    def kill(self) -> None:
        """Kill it, if it still runs."""
        if self.code is None:
            os.kill(self._id, signal.SIGKILL)
            self.wait()


def _run(tracer: Any, requests: Path, out: Path, log: Path, said: Path) -> None:
    """Be the command line: note what is begun and what is written, and die of poison."""
    from omnitrace.cli import runner
    from omnitrace.cli.app import main as command_line
    from omnitrace.trace.trace import Trace
    from omnitrace.tracer import Tracer

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    stream, save = Tracer.stream, Trace.save

    def note(word: str, messages: Any) -> str:
        text = str(messages[0]["content"][0]["text"])
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{word} {text}\n")
        return text

    def noted_stream(self: Any, messages: Any, **options: Any) -> Any:
        if POISON in note("began", messages):
            os.kill(os.getpid(), signal.SIGKILL)
        return stream(self, messages, **options)

    def noted_save(self: Any, path: Any, **options: Any) -> Any:
        found = save(self, path, **options)
        note("saved", self.messages)
        return found

    patched: Any = Tracer, Trace, runner
    patched[0].stream, patched[1].save = noted_stream, noted_save
    patched[2].load_tracer = lambda *_, **__: tracer
    options = ("--model", "reference", "--no-verify", "--max-new-tokens", "8", "--json")
    sys.argv = ["omnitrace", "trace", str(requests), *options, "--out", str(out)]
    try:
        command_line()
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 0)


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


def killed(tracer: Any, folder: Path, requests: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill a run again and again, and compare it with one that nobody killed."""
    begun_at = time.monotonic()
    whole = Process(tracer, requests, folder / "whole", folder / "whole.log")
    if whole.wait():
        raise BenchmarkError(f"the run that nobody killed failed: {whole.said.read_text()[-500:]}")
    seconds, count = time.monotonic() - begun_at, traces_in(folder / "whole")
    draw = random.Random(seed)
    out, log = folder / "killed", folder / "killed.log"
    done = []
    for _ in range(kills):
        delay = draw.uniform(0, 2 * seconds / kills)
        process = Process(tracer, requests, out, log)
        process.wait(delay)
        process.kill()
        done.append(traces_in(out))
        print(f"killed after {delay:.1f} s: {done[-1]} of {count} traces", flush=True)
    process = Process(tracer, requests, out, log)
    process.wait()
    words = [line.split(" ", 1) for line in log.read_text(encoding="utf-8").splitlines()]
    begun = Counter(text for word, text in words if word == "began")
    saved = Counter(text for word, text in words if word == "saved")
    return {
        "requests": count,
        "kills": kills,
        "done_after_each_kill": done,
        "exit_code": process.code,
        "said": process.said.read_text(encoding="utf-8").strip().splitlines()[-2:],
        "equal_to_the_bit": supports(out) == supports(folder / "whole"),
        "begun_again": sum(begun.values()) - len(begun),
        "done_twice_or_more": sum(times > 1 for times in saved.values()),
    }


def poisoned(tracer: Any, folder: Path, count: int) -> dict[str, Any]:
    """Give a run with one request that kills its process until it ends by itself."""
    requests = write_requests(folder / "poisoned.jsonl", count, poison=count // 3)
    out, log = folder / "poisoned", folder / "poisoned.log"
    codes: list[int] = []
    said = ""
    while not codes or codes[-1] < 0:
        process = Process(tracer, requests, out, log)
        code = process.wait()
        assert code is not None
        codes.append(code)
        said = process.said.read_text(encoding="utf-8")
        print(f"exit code {code}: {traces_in(out)} of {count} traces", flush=True)
    return {
        "requests": count,
        "exit_codes": codes,
        "done": traces_in(out),
        "said": said.strip().splitlines()[-1],
    }


def load() -> Any:
    """Load the model as the command line does, with one thread, and try it: forks begin at once."""
    import torch

    from omnitrace import Tracer

    torch.set_num_threads(1)
    tracer = Tracer.from_pretrained("reference", verify=False)
    content = [{"type": "text", "text": "The lamp is red."}, {"type": "text", "text": "Which?"}]
    tracer.trace([{"role": "user", "content": content}], max_new_tokens=4)
    return tracer


def measure(given: argparse.Namespace) -> Result:
    """Kill one run, poison another."""
    tracer = load()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        requests = write_requests(folder / "requests.jsonl", given.requests)
        one = killed(tracer, folder, requests, given.kills, given.seed)
        other = poisoned(tracer, folder, given.requests)
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
            f"moments drawn uniformly (seed {given.seed}); processes are forks that have the model",
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
