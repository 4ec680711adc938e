"""Train the reference model: ``python -m omnitrace.reference.train --out DIR``.

Stages, each with a one-cycle learning rate:

*induction*
    Random sequences written twice, in turns with questions about notes. Without it the model never
    learns to look something up in a text.
*recall*
    Random facts told twice in another order, in turns with questions about notes: the value must
    be found by the token before the last one. With random tokens alone before it, nothing of this
    was learnt in 2,000 steps (measured: right as often as guessed among the facts).
*redraw*
    No step: the words of weights get fresh embeddings. As the answers of questions that could only
    be guessed they had become alike (measured: mean cosine 0.66, text questions stuck at 30 %).
*facts*
    The same facts with the world's words, in turns with questions about notes.
*single*
    One modality a sample. In short prompts the model soon learns to find the cell or second that is
    asked for; among all modalities at once it only learnt which values there are (measured: after
    460 mixed steps colours 34 % right, after 400 of this stage 100 %).
*shapes*
    Images alone and mostly their shapes, which the vision tower learns last.
*world*
    All modalities in any order, many questions a sample, value words weighted up.
*polish*
    The same, but half of the samples ask about shapes only, the last thing to be wrong.
*finish*
    As *world*, with any number of questions: requests of six, which no stage before it has, were at
    times answered out of turn.

A checkpoint (safetensors and JSON) is written every hundred steps; ``--resume`` carries on from it
and gives the same weights as an unbroken run on the same machine. The finished model and its
processor land in DIR.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor

from omnitrace.errors import InputError
from omnitrace.reference.build import build_model, build_processor
from omnitrace.reference.tensors import Batch, encode_batch
from omnitrace.reference.words import OBJECTS, SYSTEM_PROMPT, WEIGHTS
from omnitrace.reference.world import CATEGORIES, MODALITIES, make_sample, training_seed

__all__ = ["Stage", "default_stages", "main", "train"]

CHECKPOINT_EVERY: Final = 100
REPORT_EVERY: Final = 25


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of training with its own batches and its own one-cycle learning rate."""

    name: str
    steps: int
    batch: int
    rate: float


def default_stages(scale: float = 1.0) -> tuple[Stage, ...]:
    """Return the recipe, its numbers of steps multiplied by ``scale``."""
    return tuple(
        Stage(name, max(min(steps, 1), round(steps * scale)), batch, rate)
        for name, steps, batch, rate in (
            ("induction", 1700, 64, 1e-3),
            ("recall", 500, 64, 1e-3),
            ("facts", 100, 64, 1e-3),
            ("redraw", 0, 64, 0.0),
            ("facts", 120, 64, 1e-3),
            ("world", 460, 16, 1.5e-3),
            ("single", 400, 32, 1.5e-3),
            ("shapes", 300, 48, 1.5e-3),
            ("world", 800, 16, 1.5e-3),
            ("world", 480, 16, 1e-3),
            ("polish", 260, 20, 1e-3),
            ("polish", 280, 24, 7e-4),
            ("world", 800, 16, 1e-3),
            ("finish", 260, 16, 7e-4),
        )
    )


def learning_rate(stage: Stage, step: int) -> float:
    """One cycle: a linear rise over the first tenth, then a cosine down to nearly zero."""
    rise = max(1, stage.steps // 10)
    if step < rise:
        return stage.rate * (step + 1) / rise
    done = (step - rise) / max(1, stage.steps - rise)
    return stage.rate * (0.005 + 0.995 * 0.5 * (1.0 + math.cos(math.pi * done)))


def repeated_batch(rng: random.Random, size: int, vocabulary: int) -> Batch:
    """Random tokens written twice; the loss is on the second copy."""
    rows: list[list[int]] = []
    weights: list[list[float]] = []
    for _ in range(size):
        length = rng.randint(12, 40)
        copy = [rng.randrange(vocabulary) for _ in range(length)]
        rows.append(copy + copy)
        weights.append([0.0] * (length + 1) + [1.0] * (length - 1))
    return _rows_batch(rows, weights)


def recall_batch(rng: random.Random, size: int, tokenizer: Any, words: float = 0.0) -> Batch:
    """Facts "key, verb, value, stop", told once and told again in another order.

    Verb and stop are the same for all facts of a row, so that the value is known by the token
    before the last one: what a note's "The lamp weighs seven grams." asks for. Tokens are random;
    a share ``words`` of the rows has the world's own words as verb and often as keys or values.
    """
    vocabulary = range(int(tokenizer.convert_tokens_to_ids("<|endoftext|>")))
    names = [tokenizer(f" {word}").input_ids[0] for word in OBJECTS]
    numbers = [tokenizer(f" {word}").input_ids[0] for word in WEIGHTS]
    the, weighs, grams, dot = tokenizer(" The weighs grams.").input_ids
    rows: list[list[int]] = []
    weights: list[list[float]] = []
    for _ in range(size):
        facts = rng.randint(3, 10)
        before: list[int] = []
        verb, after = rng.choice(vocabulary), [rng.choice(vocabulary)]
        key_pool, value_pool = list(vocabulary), list(vocabulary)
        if rng.random() < words:
            verb = weighs
            before, after = ([the], [grams, dot]) if rng.random() < 0.7 else ([], [grams])
            key_pool = names if rng.random() < 0.6 else key_pool
            value_pool = numbers if rng.random() < 0.4 else value_pool
        keys, values = rng.sample(key_pool, facts), rng.choices(value_pool, k=facts)
        told = [[*before, k, verb, v, *after] for k, v in zip(keys, values, strict=True)]
        again = rng.sample(told, facts)
        rows.append([token for fact in told + again for token in fact])
        place = [0.0] * (len(before) + 2) + [1.0] + [0.0] * len(after)
        weights.append([0.0] * (len(place) * facts) + place * facts)
    return _rows_batch(rows, weights)


def _rows_batch(rows: list[list[int]], row_weights: list[list[float]]) -> Batch:
    longest = max(map(len, rows))
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    weights = torch.zeros((len(rows), longest))
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = 1
        weights[number, : len(row)] = torch.tensor(row_weights[number])
    return Batch({"input_ids": ids, "attention_mask": mask}, weights)


def stage_batch(stage: Stage, step: int, run: int, number: int, tokenizer: Any) -> Batch:
    """Make the batch of a step; ``number`` counts all batches of the run so far."""
    rng = random.Random(f"{run}-{number}")
    if stage.name == "induction" and step % 2 == 0:
        vocabulary = int(tokenizer.convert_tokens_to_ids("<|endoftext|>"))
        return repeated_batch(rng, stage.batch, vocabulary)
    if stage.name == "recall" and step % 2 == 0:
        return recall_batch(rng, stage.batch, tokenizer)
    if stage.name == "facts" and step % 2 == 0:
        return recall_batch(rng, stage.batch, tokenizer, words=0.7)
    samples = [
        make_sample(training_seed(run, number * 64 + i), **_lesson(stage.name, rng))
        for i in range(stage.batch)
    ]
    systems = [SYSTEM_PROMPT if rng.random() < 0.1 else None for _ in samples]
    return encode_batch(samples, tokenizer, systems=systems)


def _lesson(stage: str, rng: random.Random) -> dict[str, Any]:
    """Say what a sample of the stage shows and how much is asked about it."""
    if stage in ("induction", "recall", "facts"):
        return {"questions": rng.randint(1, 5), "order": ("text",)}
    if stage == "single":
        return {"questions": 8, "order": rng.choices(MODALITIES, weights=(1, 4, 2, 3))}
    if stage == "shapes":
        category = "image-shape" if rng.random() < 0.8 else "image-colour"
        return {"questions": 4, "order": ("image",), "categories": (category,)}
    if stage == "polish" and rng.random() < 0.5:
        others = [m for m in MODALITIES if m != "image" and rng.random() < 0.5]
        order = rng.sample(["image", *others], len(others) + 1)
        return {"questions": 4, "order": order, "categories": ("image-shape",)}
    few = rng.random() < 0.3
    if stage == "finish":
        return {"questions": rng.randint(1, 4) if few else rng.randint(5, 14)}
    return {"questions": rng.randint(1, 4) if few else rng.randint(8, 14)}


@torch.no_grad()
def redraw_embeddings(model: Any, optimizer: Any, tokenizer: Any) -> None:
    """Draw the embeddings of the weight words afresh, with the spread that other words have."""
    table = model.get_input_embeddings().weight
    drawn = [tokenizer(f" {word}").input_ids[0] for word in WEIGHTS]
    bytes_end, words_end = 256, int(tokenizer.convert_tokens_to_ids("<|endoftext|>"))
    others = table[[i for i in range(bytes_end, words_end) if i not in drawn]]
    noise = torch.randn(len(drawn), table.shape[1], generator=torch.Generator().manual_seed(0))
    table[drawn] = others.mean(dim=0) + others.std(dim=0) * noise.to(table)
    state = optimizer.state.get(table, {})
    if state:
        state["exp_avg"][drawn] = 0.0
        state["exp_avg_sq"][drawn] = state["exp_avg_sq"].mean(dim=0)


def loss_and_hits(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the weighted loss and, for every value word, whether it is the likeliest token."""
    hidden = model.model(**batch.inputs, use_cache=False).last_hidden_state[:, :-1]
    weights = batch.weights[:, 1:]
    chosen = weights > 0
    targets = batch.inputs["input_ids"][:, 1:][chosen]
    weights = weights[chosen]
    logits = model.lm_head(hidden[chosen])
    losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    hits = (logits.argmax(-1) == targets)[weights >= weights.max()]
    return (losses * weights).sum() / weights.sum(), hits


@torch.no_grad()
def teacher_forced_accuracy(model: Any, tokenizer: Any, run: int, samples: int = 48) -> str:
    """Say how often value words are right, by category, on samples no stage trains on."""
    model.eval()
    words: list[str] = []
    last = 2**32 - 1
    for category in CATEGORIES:
        order = category.partition("-")[0]
        right = total = 0
        for start in range(0, samples, 16):
            batch = encode_batch(
                [
                    make_sample(
                        training_seed(run, last - start - i),
                        questions=4,
                        categories=(category,),
                        order=_with(order, start + i),
                    )
                    for i in range(16)
                ],
                tokenizer,
            ).to(str(model.device))
            _, hits = loss_and_hits(model, batch)
            right += int(hits.sum())
            total += hits.numel()
        words.append(f"{category} {right / total:.3f}")
    model.train()
    return "  ".join(words)


def _with(modality: str, number: int) -> Sequence[Any]:
    parts = ["text", "image", "audio", "video"]
    random.Random(number).shuffle(parts)
    return [part for part in parts if part == modality or number % 3]


def _save_state(folder: Path, model: Any, optimizer: Any, state: dict[str, Any]) -> None:
    """Write weights, optimizer and counters; the JSON comes last and by rename."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"state-{state['number']}.safetensors"
    tensors: dict[str, Tensor] = {}
    for key, parameter in model.named_parameters():
        tensors[f"model.{key}"] = parameter.detach().cpu().clone()
        for slot, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{slot}.{key}"] = torch.as_tensor(value).detach().cpu().clone()
    save_file(tensors, folder / name)
    temporary = folder / "state.json.part"
    temporary.write_text(json.dumps({**state, "tensors": name}, indent=1) + "\n")
    temporary.replace(folder / "state.json")
    for old in folder.glob("state-*.safetensors"):
        if old.name != name:
            old.unlink()


def _load_state(folder: Path, model: Any, optimizer: Any) -> dict[str, Any]:
    path = folder / "state.json"
    if not path.is_file():
        raise InputError(f"no checkpoint in {folder}", fix="start without --resume")
    state: dict[str, Any] = json.loads(path.read_text())
    tensors = load_file(folder / state["tensors"])
    for key, parameter in model.named_parameters():
        parameter.data.copy_(tensors[f"model.{key}"])
        slots = {
            slot: tensors[f"{slot}.{key}"]
            for slot in ("step", "exp_avg", "exp_avg_sq")
            if f"{slot}.{key}" in tensors
        }
        if slots:
            optimizer.state[parameter] = {
                slot: value if slot == "step" else value.to(parameter.device)
                for slot, value in slots.items()
            }
    return state


def train(
    out: Path,
    *,
    stages: Sequence[Stage] | None = None,
    run: int = 0,
    device: str = "cpu",
    resume: bool = False,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Train the model and write it to ``out``; see the module's docstring."""
    stages = tuple(stages or default_stages())
    console = Console()
    say = say or console.print
    processor = build_processor()
    tokenizer = processor.tokenizer
    model = build_model(tokenizer, run).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    checkpoints = out / "checkpoint"
    recipe = [dataclasses.asdict(stage) for stage in stages]
    state: dict[str, Any] = {
        "run": run, "stages": recipe, "stage": 0, "step": 0, "number": 0, "seconds": 0.0,
    }  # fmt: skip
    if resume:
        state = _load_state(checkpoints, model, optimizer)
        if state["run"] != run or state["stages"] != recipe:
            raise InputError(
                f"the checkpoint in {checkpoints} is of another recipe or seed",
                fix="give the options that it was started with, or start without --resume",
            )
        del state["tensors"]
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[report]}"),
    )  # fmt: skip
    began = time.monotonic() - state["seconds"]
    with Progress(*columns, console=console) as progress:
        for number in range(state["stage"], len(stages)):
            stage = stages[number]
            if stage.name == "redraw":
                redraw_embeddings(model, optimizer, tokenizer)
                continue
            first = state["step"] if number == state["stage"] else 0
            task = progress.add_task(stage.name, total=stage.steps, completed=first, report="")
            losses: list[float] = []
            for step in range(first, stage.steps):
                batch = stage_batch(stage, step, run, state["number"], tokenizer).to(device)
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(stage, step)
                loss, _ = loss_and_hits(model, batch)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                losses.append(float(loss.detach()))
                state.update(stage=number, step=step + 1, number=state["number"] + 1)
                state["seconds"] = time.monotonic() - began
                progress.update(task, advance=1, report=f"loss {losses[-1]:.3f}")
                if (step + 1) % REPORT_EVERY == 0:
                    mean = sum(losses[-REPORT_EVERY:]) / len(losses[-REPORT_EVERY:])
                    say(
                        f"{stage.name} {step + 1}/{stage.steps}  {state['seconds']:.0f} s  "
                        f"loss {mean:.4f}"
                    )
                if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == stage.steps:
                    _save_state(checkpoints, model, optimizer, state)
                    say("  " + teacher_forced_accuracy(model, tokenizer, run))
    return export(model, processor, out)


def export(model: Any, processor: Any, out: Path) -> Path:
    """Write the model, float32, and its processor as a folder that ``from_pretrained`` loads."""
    model.eval().to("cpu").save_pretrained(out)
    processor.save_pretrained(out)
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m omnitrace.reference.train")
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished model")
    parser.add_argument("--steps-scale", type=float, default=1.0, help="shorter or longer stages")
    parser.add_argument("--seed", type=int, default=0, help="training run, 0 to 255")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:0 …")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves torch's")
    parser.add_argument("--resume", action="store_true", help="carry on from DIR/checkpoint")
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    stages = default_stages(given.steps_scale)
    train(given.out, stages=stages, run=given.seed, device=given.device, resume=given.resume)
    shutil.rmtree(given.out / "checkpoint", ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
