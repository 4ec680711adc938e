"""A handful of right and wrong cases as pictures, and a page that lists them."""

from __future__ import annotations

from pathlib import Path

from common.report import markdown_table
from common.world_samples import ALL, COLUMNS
from omnitrace import Tracer
from omnitrace.evaluation.labels.matching import match_spans
from omnitrace.reference.files import labels
from reference.pictures import draw_statement
from reference.rows import Collected, Key, answer
from reference.where import OUTCOMES, RIGHT, where_table

__all__ = ["chosen_cases", "draw_cases", "where_markdown"]

PAGE = "cases.md"


def chosen_cases(found: Collected) -> list[tuple[str, Key]]:
    """Choose the first right and the first wrong statement of every column, each once."""
    chosen: dict[Key, str] = {}
    for column in COLUMNS:
        if column == ALL:
            continue
        here = [key for key, groups in found.groups.items() if column in groups]
        for wanted in ({RIGHT}, set(OUTCOMES) - {RIGHT}):
            new = (key for key in here if found.outcomes[key] in wanted and key not in chosen)
            key = next(new, None)
            if key is not None:
                chosen[key] = column
    return [(column, key) for key, column in chosen.items()]


def draw_cases(found: Collected, tracer: Tracer, folder: Path) -> list[Path]:
    """Draw the chosen cases, and write a page with them and with where the supports lie.

    The responses are traced again, so that not all traces need to be kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths, lines = [], []
    for number, (column, (name, index)) in enumerate(chosen_cases(found), start=1):
        sample = found.samples[name].sample
        trace = answer({"": tracer}, sample, found.answers[name])[""]
        span = match_spans(labels(sample), trace)[index]
        assert span is not None, "only what the model said is chosen"
        verdict = found.outcomes[name, index]
        picture = draw_statement(sample, sample.statements[index], span, verdict)
        kind = "right" if verdict == RIGHT else "wrong"
        path = folder / f"{number:02}-{column.replace(' ', '-')}-{kind}.png"
        picture.save(path)
        paths.append(path)
        lines.append(f"![{column}: {verdict}]({path.name})\n\n{name}, statement {index}: {verdict}")
    page = "\n\n".join([where_markdown(found), *lines]) + "\n"
    (folder / PAGE).write_text(page, encoding="utf-8")
    return paths


def where_markdown(found: Collected) -> str:
    """Format where the supports lie: the share of each column's statements, of those with any."""
    counts = where_table(found.outcomes, found.groups, COLUMNS)
    totals = {column: sum(counts[each][column] for each in OUTCOMES) for column in COLUMNS}
    rows = [
        [outcome, *(_share(counts[outcome][column], totals[column]) for column in COLUMNS)]
        for outcome in OUTCOMES
    ]
    rows.append(["statements", *(str(totals[column]) for column in COLUMNS)])
    return markdown_table(("strongest support", *COLUMNS), rows)


def _share(count: int, total: int) -> str:
    return f"{count / total:.0%} ({count})" if total else "–"  # noqa: RUF001
