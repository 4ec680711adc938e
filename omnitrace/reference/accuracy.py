"""How often the reference model is right: ``python -m omnitrace.reference.accuracy``.

Every figure goes the long way round: held-out samples are written as files, the files are read
back (Pillow, soundfile, decord), the official processor makes the inputs and ``generate`` the
answer. A value word counts as right if it stands in the answer's sentence of its question. The
control takes the evidence of the value away (the fact out of the note, the shape, the tone or the
second's colour) and leaves everything else: then only chance is left.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from omnitrace.reference import model_path
from omnitrace.reference.control import without_evidence
from omnitrace.reference.files import write_sample
from omnitrace.reference.words import COLOURS, SHAPES, TONES, WEIGHTS
from omnitrace.reference.world import (
    CATEGORIES,
    MODALITIES,
    Category,
    Sample,
    Statement,
    held_out_seed,
    make_sample,
)

__all__ = ["answer_files", "load_inputs", "load_model", "main", "measure", "score"]

CHANCE: Final[dict[Category, float]] = {
    "text": 1 / len(WEIGHTS),
    "image-colour": 1 / len(COLOURS),
    "image-shape": 1 / len(SHAPES),
    "audio": 1 / len(TONES),
    "video": 1 / len(COLOURS),
}
SEVERAL: Final = (2, 3, 4, 6, 8, 10, 12)


@dataclasses.dataclass(slots=True)
class Count:
    """Right answers among all."""

    right: int = 0
    total: int = 0

    @property
    def share(self) -> float:
        """Share of right answers, 0 where there are none."""
        return self.right / self.total if self.total else 0.0

    def figures(self) -> dict[str, float]:
        """Return the counts and the share, for JSON."""
        return {"right": self.right, "total": self.total, "share": self.share}


def load_model(path: Path | None = None, device: str = "cpu") -> tuple[Any, Any]:
    """Load the model and its processor from a folder, by default the one in the package."""
    from transformers import Qwen2_5OmniProcessor, Qwen2_5OmniThinkerForConditionalGeneration

    folder = path or model_path()
    model = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(folder)
    return model.eval().to(device), Qwen2_5OmniProcessor.from_pretrained(folder)


def load_inputs(request: Path, processor: Any) -> Any:
    """Read a request's files and make the model's inputs with the official processor."""
    import numpy as np
    import soundfile
    from decord import VideoReader
    from PIL import Image

    messages = json.loads(request.read_text(encoding="utf-8"))["messages"]
    images: list[Any] = []
    audio: list[Any] = []
    videos: list[Any] = []
    fps = float(processor.video_processor.fps)
    for part in itertools.chain.from_iterable(message["content"] for message in messages):
        if part["type"] == "image":
            images.append(Image.open(request.parent / part["image"]).convert("RGB"))
        elif part["type"] == "audio":
            audio.append(soundfile.read(request.parent / part["audio"], dtype="float32")[0])
        elif part["type"] == "video":
            reader = VideoReader(str(request.parent / part["video"]), num_threads=1)
            count = round(len(reader) / reader.get_avg_fps() * fps)
            times = np.arange(count) / fps
            indices = np.minimum(np.round(times * reader.get_avg_fps()), len(reader) - 1)
            videos.append(reader.get_batch(indices.astype(int).tolist()).asnumpy())
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return processor(
        text=[text],
        images=images or None,
        audio=audio or None,
        videos=videos or None,
        videos_kwargs={"fps": fps, "do_sample_frames": False},
        return_tensors="pt",
    )


def answer_files(request: Path, model: Any, processor: Any) -> tuple[str, bool]:
    """Answer a request; also say whether the model ended its turn by itself."""
    inputs = load_inputs(request, processor).to(model.device)
    inputs.pop("num_audio_tokens", None)
    output = model.generate(**inputs, max_new_tokens=256)[0, inputs["input_ids"].shape[1] :]
    text = processor.decode(output, skip_special_tokens=True)
    return str(text), int(output[-1]) == processor.tokenizer.eos_token_id


def score(statements: Sequence[Statement], answer: str) -> list[bool]:
    """Say for each statement whether the answer's sentence of the same place has its value."""
    sentences = re.findall(r"[^.]+\.?", answer)
    found: list[bool] = []
    for number, statement in enumerate(statements):
        sentence = sentences[number] if number < len(sentences) else ""
        found.append(statement.value in re.findall(r"[a-z]+", sentence))
    return found


def _samples(samples: int, seed: int) -> dict[str, list[Sample]]:
    """Draw the held-out samples: one question, several, and one with the evidence taken away."""
    orders = [
        order
        for size in range(1, len(MODALITIES) + 1)
        for order in itertools.permutations(MODALITIES, size)
    ]
    drawn: dict[str, list[Sample]] = {"one": [], "several": [], "evidence removed": []}
    number = seed * 1_000_000
    for category in CATEGORIES:
        fitting = [order for order in orders if category.partition("-")[0] in order]
        for index in range(samples):
            order = fitting[(index * 7) % len(fitting)]
            single = make_sample(
                held_out_seed(number), questions=1, order=order, categories=(category,)
            )
            drawn["one"].append(single)
            drawn["evidence removed"].append(without_evidence(single))
            number += 1
    for index in range(2 * samples):
        order = orders[(index * 7) % len(orders)]
        drawn["several"].append(
            make_sample(held_out_seed(number), questions=SEVERAL[index % len(SEVERAL)], order=order)
        )
        number += 1
    return drawn


def measure(
    samples: int, seed: int, *, path: Path | None = None, device: str = "cpu"
) -> dict[str, Any]:
    """Measure accuracy on ``samples`` held-out samples a category and kind of request."""
    from rich.progress import track

    model, processor = load_model(path, device)
    report: dict[str, Any] = {"samples": samples, "seed": seed, "chance": CHANCE, "accuracy": {}}
    ended = Count()
    for kind, drawn in _samples(samples, seed).items():
        counts = {category: Count() for category in CATEGORIES}
        exact = Count()
        for sample in track(drawn, description=kind):
            with tempfile.TemporaryDirectory() as folder:
                answer, stopped = answer_files(write_sample(sample, folder), model, processor)
            for statement, right in zip(
                sample.statements, score(sample.statements, answer), strict=True
            ):
                counts[statement.category].right += right
                counts[statement.category].total += 1
            exact.right += answer == sample.answer
            exact.total += 1
            ended.right += stopped
            ended.total += 1
        rows = [("exact answers", exact), *counts.items()]
        report["accuracy"][kind] = {name: count.figures() for name, count in rows}
    report["ended by itself"] = ended.figures()
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(prog="python -m omnitrace.reference.accuracy")
    parser.add_argument("--samples", type=int, default=100, help="samples a category")
    parser.add_argument("--seed", type=int, default=0, help="which held-out samples")
    parser.add_argument("--model", type=Path, help="model folder; by default the package's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args(arguments)
    report = measure(given.samples, given.seed, path=given.model, device=given.device)
    table = Table(title="Value words right, through encoded files")
    kinds = list(report["accuracy"])
    for heading in ("category", *kinds, "chance"):
        table.add_column(heading)
    for row in (*CATEGORIES, "exact answers"):
        cells = [report["accuracy"][kind][row] for kind in kinds]
        chance = f"{CHANCE[row]:.3f}" if row in CHANCE else ""
        shares = [f"{c['share']:.3f} ({c['right']}/{c['total']})" for c in cells]
        table.add_row(row, *shares, chance)
    console = Console()
    console.print(table)
    console.print(f"ended by itself: {report['ended by itself']['share']:.3f}")
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
