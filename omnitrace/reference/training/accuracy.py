"""How often the reference model is right: ``python -m omnitrace.reference.training.accuracy``.

Every figure goes the long way round: samples are written as files, the files are read back by
:mod:`omnitrace.media`, the official processor makes the inputs and ``generate`` the answer, just as
for any other request. A value word counts as right if it stands in the answer's sentence of its
question, behind the verb. Four kinds of requests are counted: with one question, with several,
with one question and one medium of up to a minute and more ("long"), and with one question whose
evidence is removed, where only chance is left for the value, and "unknown" is the honest answer.

Where the answer writes its steps (``--thinking``), a sentence counts as right if it is so to the
letter, in its place among the thoughts or the answers.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from omnitrace.errors import InputError, OmnitraceError
from omnitrace.reference.files import write_sample
from omnitrace.reference.questions import LEADS
from omnitrace.reference.samples import THOUGHT
from omnitrace.reference.training.requests import (
    CHANCE,
    KINDS,
    THINKING_CHANCE,
    THINKING_KINDS,
    samples_of,
)
from omnitrace.reference.words import UNKNOWN
from omnitrace.reference.world import (
    CATEGORIES,
    THINKING_CATEGORIES,
    Sample,
    Statement,
    held_out_seed,
    validation_seed,
)
from omnitrace.segmentation.thinking import Thinking

if TYPE_CHECKING:
    from omnitrace.models.base import ModelAdapter

__all__ = [
    "CHANCE",
    "KINDS",
    "THINKING_CHANCE",
    "THINKING_KINDS",
    "answer_files",
    "load_model",
    "main",
    "measure_accuracy",
    "samples_of",
    "score",
    "score_sentences",
]

EXACT: Final = "exact answers"
_LEADS: Final = re.compile(rf"\b(?:{'|'.join(LEADS)})\b")


@dataclasses.dataclass(slots=True)
class Count:
    """Right answers among all, and how many said that the value is unknown."""

    right: int = 0
    total: int = 0
    unknown: int = 0

    @property
    def share(self) -> float:
        """Share of right answers, 0 where there are none."""
        return self.right / self.total if self.total else 0.0

    def add(self, right: bool, unknown: bool = False) -> None:
        """Count one more answer."""
        self.right += right
        self.total += 1
        self.unknown += unknown

    def figures(self) -> dict[str, float]:
        """Return the counts and the share, for JSON."""
        return {**dataclasses.asdict(self), "share": self.share}


def load_model(model: str | Path | None = None, device: str | None = None) -> ModelAdapter:
    """Load a model and its processor from a folder, by default those in the package.

    Raises
    ------
    ModelError
        If there is no such model.
    """
    from omnitrace.models.base import LoadOptions
    from omnitrace.models.loading import REFERENCE, load_adapter

    return load_adapter(str(model or REFERENCE), LoadOptions(device=device))


def answer_files(
    request: Path, adapter: ModelAdapter, *, max_new_tokens: int = 256
) -> tuple[str, bool]:
    """Answer a request's files, untraced; also say whether the model ended its turn by itself."""
    from omnitrace.media import MediaLimits
    from omnitrace.models.generation import greedy_ids
    from omnitrace.sources.messages import read_messages
    from omnitrace.sources.options import SourceOptions

    messages = json.loads(request.read_text(encoding="utf-8"))["messages"]
    options = SourceOptions()
    conversation = read_messages(
        messages, options=options, limits=MediaLimits(), media_root=request.parent
    )
    ids = greedy_ids(adapter, adapter.encode(conversation, options), max_new_tokens)
    text: str = adapter.tokenizer.decode(ids, skip_special_tokens=True)
    return text, ids[-1] == adapter.tokenizer.eos_token_id


def score(statements: Sequence[Statement], answer: str) -> list[bool]:
    """Say for each statement whether the answer's sentence of the same place has its value."""
    said = _values(answer, len(statements))
    return [each.value in words for each, words in zip(statements, said, strict=True)]


def _values(answer: str, count: int) -> list[list[str]]:
    """Return what the first ``count`` sentences say behind the last word that leads to a value.

    Before it a sentence says what it is about, and "the number in second three" is no three.
    """
    sentences = re.findall(r"[^.]+", answer)[:count]
    found = [_LEADS.split(sentence)[1:][-1:] for sentence in sentences]
    found += [[]] * (count - len(found))
    return [re.findall(r"[a-z]+", " ".join(part)) for part in found]


def score_sentences(statements: Sequence[Statement], answer: str) -> list[bool]:
    """Say for each thought and each answer whether its sentence is right to the letter.

    A sentence is compared with the one of the same place in its section; where no thought was
    closed, all is answer.
    """
    markers = Thinking()
    thoughts, closed, answers = answer.rpartition(markers.closing)
    said = {
        section: iter(re.findall(r"[^.]+\.", text))
        for section, text in (
            ("thought", thoughts.removeprefix(markers.opening) if closed else ""),
            ("answer", answers),
        )
    }
    return [next(said[each.section], "").strip() == each.text for each in statements]


def measure_accuracy(
    samples: int,
    seed: int,
    *,
    model: str | Path | None = None,
    device: str | None = None,
    validation: bool = False,
    aligned: bool = False,
    kinds: Sequence[str] = KINDS,
    max_new_tokens: int = 256,
) -> dict[str, Any]:
    """Measure accuracy on samples that the model was not trained on.

    Parameters
    ----------
    samples, seed:
        How many of each category, and which; see :func:`samples_of`.
    model, device:
        As for :func:`load_model`.
    validation:
        Use the samples for choices; figures are of the held-out ones.
    aligned:
        Of the aligned world, in which evidence lies within whole units.
    kinds:
        Which kinds of requests.
    max_new_tokens:
        Longest answer, in tokens.

    Returns
    -------
    dict
        JSON-ready: for each kind the counts of every category and of exact answers, and how often
        the model ended its turn by itself.

    Raises
    ------
    InputError, ModelError
        If there is no such model or kind, or ``samples`` is less than 1.
    """
    if samples < 1:
        raise InputError(f"samples is {samples}", legal="1 or more")
    known = (*KINDS, *THINKING_KINDS)
    for kind in set(kinds) - set(known):
        raise InputError(f"{kind!r} is no kind of request", legal=", ".join(map(repr, known)))
    adapter = load_model(model, device)
    numbered = validation_seed if validation else held_out_seed
    accuracy: dict[str, dict[str, Any]] = {}
    ended = Count()
    for kind in kinds:
        drawn = list(samples_of(kind, samples, seed, numbered=numbered, aligned=aligned))
        counts = {name: Count() for name in (*CATEGORIES, *THINKING_CATEGORIES, THOUGHT, EXACT)}
        for sample, answer, stopped in _answers(drawn, adapter, kind, max_new_tokens):
            _count(counts, sample, answer)
            ended.add(stopped)
        accuracy[kind] = {name: count.figures() for name, count in counts.items() if count.total}
    return {
        "model": adapter.source,
        "samples": samples,
        "seed": seed,
        "seeds": "validation" if validation else "held out",
        "aligned": aligned,
        "chance": (CHANCE if {*kinds} & {*KINDS} else {})
        | (THINKING_CHANCE if {*kinds} & {*THINKING_KINDS} else {}),
        "accuracy": accuracy,
        "ended by itself": ended.figures(),
    }


def _answers(
    samples: Sequence[Sample], adapter: ModelAdapter, kind: str, max_new_tokens: int
) -> Iterator[tuple[Sample, str, bool]]:
    from rich.progress import track

    for sample in track(samples, description=kind):
        with tempfile.TemporaryDirectory() as folder:
            path = write_sample(sample, folder)
            yield sample, *answer_files(path, adapter, max_new_tokens=max_new_tokens)


def _count(counts: Mapping[str, Count], sample: Sample, answer: str) -> None:
    counts[EXACT].add(answer == sample.answer)
    if sample.statements[0].section == "thought":
        for each, is_right in zip(
            sample.statements, score_sentences(sample.statements, answer), strict=True
        ):
            counts[each.category].add(is_right)
        return
    right = score(sample.statements, answer)
    said = _values(answer, len(right))
    for statement, is_right, words in zip(sample.statements, right, said, strict=True):
        counts[statement.category].add(is_right, UNKNOWN in words)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m omnitrace.reference.training.accuracy")
    parser.add_argument("--samples", type=int, default=60, help="samples a category")
    parser.add_argument("--seed", type=int, default=0, help="which samples")
    parser.add_argument(
        "--model", help="model folder, or 'reference-thinking'; by default the package's other one"
    )
    parser.add_argument("--device", help="such as cuda; by default the processor")
    parser.add_argument(
        "--validation", action="store_true", help="samples for choices, not for figures"
    )
    parser.add_argument("--aligned", action="store_true", help="samples of the aligned world")
    parser.add_argument(
        "--thinking", action="store_true", help="questions of several steps, and their steps"
    )
    parser.add_argument("--kinds", nargs="+", help="only these kinds of requests")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="longest answer")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args(arguments)
    try:
        report = measure_accuracy(
            given.samples,
            given.seed,
            model=given.model,
            device=given.device,
            validation=given.validation,
            aligned=given.aligned,
            kinds=given.kinds or (THINKING_KINDS if given.thinking else KINDS),
            max_new_tokens=given.max_new_tokens,
        )
    except OmnitraceError as error:
        parser.error(str(error))
    _print(report)
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _print(report: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Value words right, through encoded files ({report['seeds']} samples)")
    table.add_column("category", no_wrap=True)
    for heading in (*report["accuracy"], 'then "unknown"', "chance"):
        table.add_column(heading)
    rows: list[str] = [each for each in CATEGORIES if {*KINDS} & report["accuracy"].keys()]
    rows += [*THINKING_CATEGORIES, THOUGHT] if {*THINKING_KINDS} & report["accuracy"].keys() else []
    for row in (*rows, EXACT):
        cells = [figures.get(row) for figures in report["accuracy"].values()]
        bare = report["accuracy"].get(KINDS[-1], {}).get(row)
        refused = f"{bare['unknown'] / bare['total']:.3f}" if bare and row != EXACT else ""
        chance = f"{report['chance'][row]:.3f}" if row in report["chance"] else ""
        shares = [f"{c['share']:.3f}" if c else "" for c in cells]
        table.add_row(row, *shares, refused, chance)
    console = Console()
    console.print(table)
    console.print(f"ended by itself: {report['ended by itself']['share']:.3f}")


if __name__ == "__main__":
    raise SystemExit(main())
