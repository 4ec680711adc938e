"""Run every benchmark in this folder, each in a process of its own, and write RESULTS.md."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from common.report import FOLDER, RESULTS
from write_results import PAGE, write_results

# Programs of this folder that are no benchmarks, and one that needs a GPU.
_OTHERS: Final = ("run_all", "write_results", "gpu")


def benchmarks(folder: Path = FOLDER) -> list[Path]:
    """Find the benchmarks: a new file in the folder is one, without being listed anywhere."""
    return [path for path in sorted(folder.glob("*.py")) if path.stem not in _OTHERS]


def keep(new: Path, kept: Path) -> bool:
    """Move a new result into its place; a quick run never replaces a full one."""
    quick = json.loads(new.read_text(encoding="utf-8"))["quick"]
    if quick and kept.is_file() and not json.loads(kept.read_text(encoding="utf-8"))["quick"]:
        return False
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(new.read_text(encoding="utf-8"), encoding="utf-8")
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(description="Run all benchmarks and write RESULTS.md.")
    made.add_argument("--quick", action="store_true", help="a smaller run of each, of minutes")
    made.add_argument("--results", type=Path, default=RESULTS)
    made.add_argument("--page", type=Path, default=PAGE)
    given = made.parse_args(arguments)
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for path in benchmarks():
            new = Path(folder) / f"{path.stem}.json"
            command = [sys.executable, str(path), "--json", str(new)]
            done = subprocess.run(command + ["--quick"] * given.quick, check=False)
            if done.returncode != 0 or not new.is_file():
                failed.append(path.stem)
            elif not keep(new, given.results / new.name):
                print(f"{given.results / new.name} keeps its full result; this run was quick")
    print(f"wrote {write_results(given.results, given.page)}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
