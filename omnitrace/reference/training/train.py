"""Train the reference model: ``python -m omnitrace.reference.training.train --out DIR``.

The stages are those of :mod:`omnitrace.reference.training.stages`.

``--start`` names a model that has learnt something before
(:mod:`omnitrace.reference.training.warm`), ``--first`` the stage with which it goes on. A
checkpoint (safetensors and JSON) is written every two hundred steps, from which ``--resume``
carries on. The finished model and its processor land in DIR.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from omnitrace.errors import InputError
from omnitrace.reference.samples import THOUGHT
from omnitrace.reference.training.attention import has_fast_bfloat16, use_blocks
from omnitrace.reference.training.build import build_model, build_processor, build_tokenizer
from omnitrace.reference.training.lessons import POOL, draw_samples, repeated_samples
from omnitrace.reference.training.stages import THOUGHT_OUT, Stage, default_stages, learning_rate
from omnitrace.reference.training.tensors import (
    Batch,
    EncodedSample,
    Senses,
    collate,
    decisions,
    encode_sample,
)
from omnitrace.reference.training.towers import Vocabulary, tower_loss
from omnitrace.reference.training.warm import warm_start
from omnitrace.reference.world import (
    CATEGORIES,
    THINKING_CATEGORIES,
    make_sample,
    validation_seed,
)

__all__ = ["Stage", "default_stages", "main", "train", "validate"]

# Images, videos and audio parts of a step of the stages that teach the towers.
SHOWN: Final = {"towers": (20, 4, 12), "items": (28, 3, 2)}
CHECKPOINT_EVERY: Final = 200
REPORT_EVERY: Final = 25
_VALIDATED: Final = 96  # mixed samples of up to eight questions


def embedded(model: Any, batch: Batch) -> Tensor:
    """Embed the words of a batch and put the media in their places, ``[rows, n, width]``."""
    embeddings: Tensor = model.get_input_embeddings()(batch.ids)
    return embeddings.masked_scatter(batch.is_media[..., None], batch.media.to(embeddings))


def loss_and_hits(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the weighted loss and, for every token that decides a value, whether it is right.

    Rows are padded on the right, so causal attention needs no mask. A model in training computes
    in bfloat16 where that is faster.
    """
    half = model.training and has_fast_bfloat16()
    with torch.autocast(model.device.type, torch.bfloat16, enabled=half):
        hidden = model.model(
            inputs_embeds=embedded(model, batch), position_ids=batch.positions, use_cache=False
        ).last_hidden_state[:, :-1]
    weights = batch.weights[:, 1:]
    chosen = weights > 0
    targets = batch.ids[:, 1:][chosen]
    weights = weights[chosen]
    logits = model.lm_head(hidden[chosen].float())
    losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    hits = (logits.argmax(-1) == targets)[weights > 1.0]
    return (losses * weights).sum() / weights.sum(), hits


@torch.no_grad()
def validate(
    model: Any,
    senses: Senses,
    tokenizer: Any,
    *,
    number: int = _VALIDATED,
    questions: int = 8,
    thinking: bool = False,
) -> dict[str, float]:
    """Say how often values are right, teacher-forced, on mixed validation samples.

    With several questions one right answer can give away another about the same thing: what can be
    known without looking shows with one question.
    """
    known = (THOUGHT, *THINKING_CATEGORIES) if thinking else CATEGORIES
    right: dict[str, list[bool]] = {category: [] for category in known}
    model.eval()
    samples = [
        make_sample(validation_seed(n), questions=questions, long=False, thinking=thinking)
        for n in range(number)
    ]
    for first in range(0, number, 8):
        chunk = samples[first : first + 8]
        rows = [encode_sample(sample, senses, tokenizer) for sample in chunk]
        _, hits = loss_and_hits(model, collate(rows, model.config))
        found = iter(hits.tolist())
        for sample in chunk:
            for statement, count in zip(
                sample.statements, decisions(sample, tokenizer), strict=True
            ):
                decided = [next(found) for _ in range(count)]
                right[statement.category].append(all(decided))
    model.train()
    return {name: sum(hits) / len(hits) for name, hits in right.items() if hits}


class Trainer:
    """The state of a run: model, optimizer, counters. ``rank`` is this process among ``size``."""

    def __init__(
        self,
        run: int,
        start: Path | None,
        rank: int = 0,
        size: int = 1,
        *,
        blind: bool = False,
        thinking: bool = False,
    ) -> None:
        self.run, self.rank, self.size = run, rank, size
        self.processor = build_processor(build_tokenizer(thinking=thinking))
        self.tokenizer = self.processor.tokenizer
        self.model = build_model(self.tokenizer, run).train()
        if start is not None:
            warm_start(self.model, self.tokenizer, start)
        use_blocks(self.model, on=True)
        self.optimizers = _optimizers(self.model)
        self.senses = Senses(self.model, 2 * POOL, blind=blind)
        self.stage = 0
        self.step = 0
        self.number = 0
        self.seconds = 0.0

    def loss(self, stage: Stage) -> tuple[Tensor, str]:
        """Draw the next batch and return its loss, and what it got right."""
        number = self.number * self.size + self.rank
        if stage.name in SHOWN:
            words = Vocabulary.of(self.model, self.tokenizer)
            rng = random.Random(f"{self.run}-{number}")
            loss, right = tower_loss(self.model, words, rng, SHOWN[stage.name])
            return loss, "  ".join(f"{name} {share:.2f}" for name, share in right.items())
        rows = self._rows(stage, number)
        loss, hits = loss_and_hits(self.model, collate(rows, self.model.config))
        return loss, f"values {float(hits.float().mean()):.2f}"

    def _rows(self, stage: Stage, number: int) -> list[EncodedSample]:
        if stage.name == "induction":
            words = int(self.tokenizer.convert_tokens_to_ids("<|endoftext|>"))
            width = self.model.config.text_config.hidden_size
            return repeated_samples(self.run, number, stage.tokens, words, width)
        samples, systems = draw_samples(stage.name, self.run, number, stage.tokens)
        return [
            encode_sample(sample, self.senses, self.tokenizer, system=system)
            for sample, system in zip(samples, systems, strict=True)
        ]

    def learn(self, stage: Stage) -> tuple[float, str]:
        """Take one step; all processes take the same one, of their mean gradient."""
        for name, parameter in self.model.named_parameters():
            in_tower = ".visual." in name or ".audio_tower." in name
            parameter.requires_grad_(in_tower == (stage.name in SHOWN))
        for group in [g for optimizer in self.optimizers for g in optimizer.param_groups]:
            group["lr"] = learning_rate(stage, self.step)
        loss, said = self.loss(stage)
        self.model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        learning = [p for p in self.model.parameters() if p.requires_grad]
        if self.size > 1:
            _average(learning)
        torch.nn.utils.clip_grad_norm_([p for p in learning if p.grad is not None], 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.number += 1
        return float(loss.detach()), said

    def validate(self, stage: Stage) -> dict[str, float]:
        """Measure on validation samples of the kind that a stage teaches."""
        asked: dict[str, Any] = {}
        if stage.name in THOUGHT_OUT:
            asked |= {"questions": 2, "thinking": True}
        if self.senses.blind:
            asked |= {"questions": 1, "number": 8 * _VALIDATED}
        return validate(self.model, self.senses, self.tokenizer, **asked)

    def _state(self, parameter: Any) -> dict[str, Any]:
        """Return what the parameter's optimizer remembers of it."""
        for optimizer in self.optimizers:
            if any(parameter is p for group in optimizer.param_groups for p in group["params"]):
                return optimizer.state[parameter]  # type: ignore[no-any-return]
        raise AssertionError("every parameter has an optimizer")

    def save(self, folder: Path, recipe: list[dict[str, Any]]) -> None:
        """Write weights, optimizer and counters; the JSON comes last and by rename."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"state-{self.number}.safetensors"
        tensors: dict[str, Tensor] = {}
        for key, parameter in self.model.named_parameters():
            tensors[f"model.{key}"] = parameter.detach().clone()
            for slot, value in self._state(parameter).items():
                tensors[f"{slot}.{key}"] = torch.as_tensor(value).detach().clone()
        save_file(tensors, folder / name)
        counters = ("run", "stage", "step", "number", "seconds")
        state = {key: getattr(self, key) for key in counters}
        temporary = folder / "state.json.part"
        temporary.write_text(json.dumps({**state, "stages": recipe, "tensors": name}) + "\n")
        temporary.replace(folder / "state.json")
        for old in folder.glob("state-*.safetensors"):
            if old.name != name:
                old.unlink()

    def load(self, folder: Path, recipe: list[dict[str, Any]]) -> None:
        """Carry on from a checkpoint; stages that are done must be those of the recipe."""
        path = folder / "state.json"
        if not path.is_file():
            raise InputError(f"no checkpoint in {folder}", fix="start without --resume")
        state: dict[str, Any] = json.loads(path.read_text())
        done = state["stage"] + 1
        if state["run"] != self.run or state["stages"][:done] != recipe[:done]:
            raise InputError(
                f"the checkpoint in {folder} is of another recipe or seed",
                fix="give the options that it was started with, or start without --resume",
            )
        tensors = load_file(folder / state["tensors"])
        for key, parameter in self.model.named_parameters():
            parameter.data.copy_(tensors[f"model.{key}"])
            slots = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")
            for slot in slots:
                if f"{slot}.{key}" in tensors:
                    self._state(parameter)[slot] = tensors[f"{slot}.{key}"]
        for key in ("stage", "step", "number", "seconds"):
            setattr(self, key, state[key])


def _optimizers(model: Any) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of layers, AdamW for all else."""
    matrices: list[Any] = []
    others: list[Any] = []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim == 2 and any(part in name for part in ("layers.", "blocks."))
        (matrices if is_matrix else others).append(parameter)
    return [
        torch.optim.Muon(matrices, lr=1e-3, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def _average(parameters: list[Any]) -> None:
    """Replace gradients by their mean over the processes, in one message."""
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([grad.flatten() for grad in grads])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    for parameter, part in zip(
        parameters, torch.split(flat, [g.numel() for g in grads]), strict=True
    ):
        parameter.grad = part.view_as(parameter).clone()


def train(
    out: Path,
    *,
    stages: Sequence[Stage] | None = None,
    run: int = 0,
    start: Path | None = None,
    resume: bool = False,
    blind: bool = False,
    thinking: bool = False,
    rank: int = 0,
    size: int = 1,
    say: Callable[[str], None] = print,
) -> Path:
    """Train the model and write it to ``out``; see the module's docstring.

    ``blind`` shows the text model nothing of media: the control of the world, which must not be
    answerable from lengths, order or priors. ``thinking`` makes the model that writes its steps,
    whose tokenizer has the words for them.
    """
    stages = tuple(stages or default_stages(thinking=thinking))
    recipe = [dataclasses.asdict(stage) for stage in stages]
    trainer = Trainer(run, start, rank, size, blind=blind, thinking=thinking)
    checkpoints = out / "checkpoint"
    if resume:
        trainer.load(checkpoints, recipe)
    began = time.monotonic() - trainer.seconds
    losses: list[float] = []
    while trainer.stage < len(stages):
        stage = stages[trainer.stage]
        while trainer.step < stage.steps:
            loss, said = trainer.learn(stage)
            trainer.seconds = time.monotonic() - began
            losses.append(loss)
            if rank == 0 and trainer.step % REPORT_EVERY == 0:
                mean = sum(losses[-REPORT_EVERY:]) / len(losses[-REPORT_EVERY:])
                head = f"{stage.name} {trainer.step}/{stage.steps}  {trainer.seconds:.0f} s"
                say(f"{head}  loss {mean:.4f}  {said}")
            if rank == 0 and (trainer.step % CHECKPOINT_EVERY == 0 or trainer.step == stage.steps):
                trainer.save(checkpoints, recipe)
                if trainer.step == stage.steps and stage.name not in SHOWN:
                    figures = trainer.validate(stage)
                    say("  " + "  ".join(f"{n} {share:.2f}" for n, share in figures.items()))
        trainer.stage += 1
        trainer.step = 0
    if rank == 0:
        export(trainer.model, trainer.processor, out)
    return out


def export(model: Any, processor: Any, out: Path) -> Path:
    """Write the model, float32, and its processor as a folder that ``from_pretrained`` loads."""
    use_blocks(model, on=False)
    model.eval().save_pretrained(out)
    processor.save_pretrained(out)
    return out


def _process(rank: int, size: int, options: dict[str, Any]) -> None:
    """Be one of several processes of a run, each with its share of the batches."""
    torch.set_num_threads(options.pop("threads"))
    port = options.pop("port")
    if size > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size
        )
    train(rank=rank, size=size, say=lambda line: print(line, flush=True), **options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m omnitrace.reference.training.train")
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished model")
    parser.add_argument("--steps-scale", type=float, default=1.0, help="shorter or longer stages")
    parser.add_argument("--stages", type=Path, help="JSON list of stages instead of the recipe")
    parser.add_argument("--first", help="the stage to begin with, those before it left out")
    parser.add_argument("--seed", type=int, default=0, help="training run, 0 to 255")
    parser.add_argument("--start", type=Path, help="folder of a model to start from")
    parser.add_argument("--processes", type=int, default=1, help="how many share the batches")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each process")
    parser.add_argument("--port", type=int, default=29531, help="on which the processes meet")
    parser.add_argument("--blind", action="store_true", help="show no media: the control")
    parser.add_argument("--thinking", action="store_true", help="the model that writes its steps")
    parser.add_argument("--resume", action="store_true", help="carry on from DIR/checkpoint")
    given = parser.parse_args(arguments)
    stages = default_stages(given.steps_scale, thinking=given.thinking)
    if given.stages:
        stages = tuple(Stage(**stage) for stage in json.loads(given.stages.read_text()))
    names = [stage.name for stage in stages]
    if given.first is not None and given.first not in names:
        parser.error(f"there is no stage {given.first!r}; legal: {', '.join(names)}")
    stages = stages[names.index(given.first) :] if given.first else stages
    options = {
        "out": given.out,
        "stages": stages,
        "run": given.seed,
        "start": given.start,
        "resume": given.resume,
        "blind": given.blind,
        "thinking": given.thinking,
        "threads": given.threads,
        "port": given.port,
    }
    if given.processes > 1:
        spawn(  # type: ignore[no-untyped-call]
            _process, (given.processes, options), nprocs=given.processes
        )
    else:
        _process(0, 1, options)
    shutil.rmtree(given.out / "checkpoint", ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
