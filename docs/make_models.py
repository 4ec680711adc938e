"""Make ``docs/reference/models.md``: what each family takes, and what the doctor found on it.

Run from anywhere; without a file it takes some minutes::

    omnitrace doctor all --tiny --full --out doctor.json
    python docs/make_models.py doctor.json
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from omnitrace.models.families import FAMILIES, Family

PAGE: Final = Path(__file__).parent / "reference" / "models.md"
MARKS: Final = {"supported": "yes", "degraded": "in part", "wrong": "WRONG", "not applicable": "no"}
MODALITIES: Final = {
    "text": "token map",
    "image": "places in images",
    "audio": "places in audio",
    "video": "places in videos",
}
SIGNALS: Final = {
    "attention rows": ("layers with rows", "rows"),
    "value norms": ("value norms",),
    "gradients": ("gradients",),
    "mask-gradient": ("mask-gradient",),
    "ablation": ("ablation", "side inputs"),
    "verified": ("verified supports",),
    "batches": ("batch and padding", "attention mask"),
}
_GRAVITY: Final = ("wrong", "not applicable", "degraded", "supported")

HEAD: Final = """# Models

Made by `docs/make_models.py` from `omnitrace doctor all --tiny --full`: what it finds on a tiny
random model of each family's own classes, with its own processor. `omnitrace doctor MODEL` says the
same of the checkpoint that you use. Text models have no entry here: each that uses the attention
interface of `transformers` works.

"yes" is proved; "in part" has a limit, and a signal's "no" a reason: both stand below.
"""


def main(argv: Sequence[str]) -> None:
    """Read what the doctor found, or ask it, and write the page."""
    documents = json.loads(Path(argv[0]).read_text("utf-8")) if argv else _diagnosed()
    PAGE.write_text(page({each["family"]: each for each in documents}), encoding="utf-8")
    print(f"wrote {PAGE}")


def _diagnosed() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "doctor.json"
        command = [sys.executable, "-m", "omnitrace", "doctor", "all", "--tiny", "--full"]
        subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
        found: list[dict[str, Any]] = json.loads(out.read_text("utf-8"))
        return found


def page(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page, given what was found of each family."""
    versions = next(iter(found.values()))["versions"]
    used = ", ".join(f"{name} {version}" for name, version in versions.items())
    return "\n".join(
        [
            HEAD,
            "## What each family takes\n",
            *_table(["family", *MODALITIES, "checkpoints"], _modalities, found),
            "\n## What works on it\n",
            *_table(["family", *SIGNALS], _signals, found),
            "\n## Limits\n",
            *_limits(found),
            f"\nChecked with {used}.\n",
        ]
    )


def _table(heads: Sequence[str], row: Any, found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = [heads, ["---"] * len(heads)]
    lines += [[family.title, *row(family, found[family.name])] for family in FAMILIES]
    return [f"| {' | '.join(line)} |" for line in lines]


def _status(document: Mapping[str, Any], names: Sequence[str]) -> str:
    lines = [line for line in document["lines"] if line["name"] in names]
    return min((line["status"] for line in lines), key=_GRAVITY.index)


def _modalities(family: Family, document: Mapping[str, Any]) -> list[str]:
    marks = [
        MARKS[_status(document, [check])] if kind in family.modalities else "no"
        for kind, check in MODALITIES.items()
    ]
    return [*marks, ", ".join(f"`{name}`" for name in family.checkpoints)]


def _signals(family: Family, document: Mapping[str, Any]) -> list[str]:
    return [MARKS[_status(document, names)] for names in SIGNALS.values()]


def _limits(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say what each family does not take, and what the doctor says of the rest."""
    lines: list[str] = []
    for family in FAMILIES:
        own = [
            f"no {' and '.join(kinds)} in one request ({why})"
            for kinds, why in family.not_together.items()
        ]
        own += [f"one {kind} a request" for kind in family.one_each]
        own += [f"{kind} from transformers {since} on" for kind, since in family.since.items()]
        own += [
            f"{line['name']}: {line['evidence'].replace(f'tiny {family.name}', 'the model')}"
            for line in found[family.name]["lines"]
            if line["status"] in ("degraded", "wrong")
            or (line["status"] == "not applicable" and not line["name"].startswith("places"))
        ]
        lines += [f"- **{family.title}**: {'; '.join(own)}."] if own else []
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])
