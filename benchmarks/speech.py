"""Are utterances found, and with a recogniser sentences and words? Speech with known times.

Twenty sentences by five voices of espeak-ng and flite, with silences drawn between them, with and
without noise; and, where Debian's ``pocketsphinx-testdata`` is installed, five utterances of
LibriVox. An utterance is found where one stretch overlaps it alone.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from common.report import Bar, BenchmarkError, Result, Table, parser, run_benchmark

if TYPE_CHECKING:
    import numpy as np

    from omnitrace.speech import Utterance

#: Samples at 16 kHz, and what is said when.
Recording: TypeAlias = "tuple[np.ndarray, list[Utterance]]"

RATE: Final = 16_000
SENTENCES: Final = """The invoice from the printing company is already nine days late.
Please call Maria before noon and ask her about the missing documents.
We moved the meeting to Thursday because the large room is taken.
The blue spoon weighs seven grams and the wooden key weighs twelve.
Nobody told the driver that the bridge was closed for repairs.
Our customer in Lisbon wants to return both of the broken lamps.
The doctor said that the second test came back negative.
Rain is expected in the north, but the coast will stay dry.
She signed the contract in April and moved in during the summer.
The new pump needs forty minutes to fill the upper tank.
Remember to lock the back door when you leave the office.
They sold three hundred tickets on the first evening.
The train to Vienna leaves from platform six at half past ten.
He paid with a silver coin and did not wait for the change.
The committee will publish its report at the end of the month.
My sister found the letter behind the old piano.
Prices for copper have fallen by eleven percent since January.
The kitchen smells of oranges and fresh bread.
Two of the engines were replaced after the long flight.
I would rather walk home than wait for another bus.""".splitlines()
VOICES: Final = (
    ("espeak-ng", "en-us"),
    ("espeak-ng", "en-gb-x-rp"),
    ("espeak-ng", "en-us+f3"),
    ("flite", "slt"),
    ("flite", "rms"),
)
#: Seconds of silence between utterances, and decibels of the noise.
KINDS: Final = {
    "pauses of 0.5 to 1.5 s": (0.5, 1.5, None),
    "pauses of 0.15 to 0.35 s": (0.15, 0.35, None),
    "pauses of 0.5 to 1.5 s, noise at 10 dB": (0.5, 1.5, 10.0),
}
LIBRIVOX: Final = Path("/usr/share/pocketsphinx/test/data/librivox")


def say(program: str, voice: str, text: str) -> np.ndarray:
    """Return what a speech synthesizer says, from its first sound to its last."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        if program == "flite":
            command = ["flite", "-voice", voice, "-t", text, "-o", str(path)]
        else:
            command = ["espeak-ng", "-v", voice, "-w", str(path), text]
        subprocess.run(command, check=True, capture_output=True)
        return trimmed(path)


def trimmed(path: Path) -> np.ndarray:
    """Read a recording at 16 kHz without the silence at both ends, at half of full scale."""
    import numpy as np

    from omnitrace.media import load_audio

    samples = load_audio(path).samples
    power = np.sqrt(np.convolve(samples**2, np.ones(RATE // 100) / (RATE // 100), "same"))
    loud = np.flatnonzero(power > 0.01 * power.max())
    samples = samples[loud[0] : loud[-1] + 1]
    return 0.5 * samples / np.abs(samples).max()


def together(
    said: Sequence[tuple[np.ndarray, str]],
    silence: tuple[float, float],
    noise: float | None,
    rng: np.random.Generator,
) -> Recording:
    """Put utterances one after the other, with silences drawn between them."""
    import numpy as np

    from omnitrace.speech import Utterance

    pieces, true, at = [], [], 0
    for samples, text in said:
        gap = int(rng.uniform(*silence) * RATE)
        pieces += [np.zeros(gap), samples]
        true.append(Utterance((at + gap) / RATE, (at + gap + len(samples)) / RATE, text))
        at += gap + len(samples)
    whole = np.concatenate([*pieces, np.zeros(RATE)])
    whole += rng.normal(0, 1e-4, len(whole))
    if noise is not None:
        power = np.mean(np.concatenate([samples for samples, _ in said]) ** 2)
        hiss = np.convolve(rng.normal(size=len(whole)), [1, 0.9, 0.8, 0.6, 0.4, 0.2], "same")
        whole += hiss * np.sqrt(power / 10 ** (noise / 10) / np.mean(hiss**2))
    return np.clip(whole, -1, 1).astype(np.float32), true


def corpora(sentences: Sequence[str]) -> dict[str, list[Recording]]:
    """Make the recordings of each kind."""
    import numpy as np

    missing = [program for program in ("espeak-ng", "flite") if shutil.which(program) is None]
    if missing:
        raise BenchmarkError(
            f"{' and '.join(missing)} not found; on Debian: apt-get install espeak-ng flite"
        )
    rng = np.random.default_rng(0)
    found: dict[str, list[Recording]] = {}
    voices = [[(say(*voice, text), text) for text in sentences] for voice in VOICES]
    for kind, (shortest, longest, noise) in KINDS.items():
        found[kind] = [together(said, (shortest, longest), noise, rng) for said in voices]
    if LIBRIVOX.is_dir():
        lines = (LIBRIVOX / "transcription").read_text().splitlines()
        named = [re.match(r"<s> (.*?)\s*</s> \((.*)\)", line) for line in lines]
        read = [(trimmed(LIBRIVOX / f"{each[2]}.wav"), each[1]) for each in named if each]
        found["LibriVox, pauses of 0.7 to 1.5 s"] = [together(read, (0.7, 1.5), None, rng)]
    return found


@dataclass(slots=True)
class Score:
    """What was found of the utterances of one kind."""

    utterances: int = 0
    found: int = 0
    units: int = 0
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    words: int = 0
    wrong: int = 0
    seconds: float = 0.0
    cpu: float = 0.0

    def add(self, units: Sequence[Utterance], true: Sequence[Utterance]) -> None:
        """Count utterances that one unit overlaps which overlaps no other."""
        self.utterances += len(true)
        self.units += len(units)
        for each in true:
            over = [unit for unit in units if _overlap(unit, each)]
            if len(over) == 1 and sum(_overlap(over[0], other) for other in true) == 1:
                self.found += 1
                self.starts.append(abs(over[0].start - each.start))
                self.ends.append(abs(over[0].end - each.end))
        if any(unit.text for unit in units):
            expected = _words(" ".join(each.text for each in true))
            self.words += len(expected)
            self.wrong += distance(expected, _words(" ".join(unit.text for unit in units)))


def _overlap(a: Utterance, b: Utterance) -> bool:
    return min(a.end, b.end) > max(a.start, b.start)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the fewest words to insert, delete or replace (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, one in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (one != other))
    return row[-1]


def cutters(recognisers: Sequence[str]) -> dict[str, Callable[[np.ndarray], list[Utterance]]]:
    """Return what finds utterances in samples, by name."""
    from omnitrace.media import load_audio
    from omnitrace.sources import Speech, TimeTokens
    from omnitrace.sources.parts import MediaPart

    def by(unitizer: Speech) -> Callable[[np.ndarray], list[Utterance]]:
        def cut(samples: np.ndarray) -> list[Utterance]:
            audio = load_audio(samples)
            part = MediaPart(0, 0, "user", "audio", audio)
            return unitizer.said([TimeTokens(part, "audio", (), (), audio.duration)])

        return cut

    return {"pauses": by(Speech())} | {_label(name): by(Speech(asr=name)) for name in recognisers}


def _label(recogniser: str) -> str:
    """Return a recogniser and its model, without the folders of this machine."""
    name, _, model = recogniser.partition(":")
    return f"{name}:{Path(model).name}"


def measure(given: argparse.Namespace) -> Result:
    """Cut every recording, and count."""
    from omnitrace.speech.voice import voice_probabilities

    made = corpora(SENTENCES[:4] if given.quick else SENTENCES)
    scores: dict[tuple[str, str], Score] = {}
    for name, cut in cutters(given.asr).items():
        voice_probabilities(next(iter(made.values()))[0][0][:RATE])  # loads the network
        for kind, recordings in made.items():
            score = scores[name, kind] = Score()
            for samples, true in recordings:
                began = time.process_time()
                units = cut(samples)
                score.cpu += time.process_time() - began
                score.seconds += len(samples) / RATE
                score.add(units, true)
    return Result(
        name="speech",
        title="Speech with known times: are utterances found?",
        quick=given.quick,
        table=Table(_COLUMNS, [_row(*key, score) for key, score in scores.items()]),
        bars=_bars({kind: score for (name, kind), score in scores.items() if name == "pauses"}),
        notes=_NOTES,
        settings={"asr": [_label(each) for each in given.asr]},
        values={
            f"{name}/{kind}": {
                "found": score.found,
                "utterances": score.utterances,
                "units": score.units,
                "start": _median(score.starts),
                "end": _median(score.ends),
                "cpu": score.cpu / score.seconds,
                "wrong words": score.wrong,
                "words": score.words,
            }
            for (name, kind), score in scores.items()
        },
    )


_COLUMNS: Final = (
    "cut by", "speech", "found", "units", "start ms", "end ms", "wrong words", "CPU s a second"
)  # fmt: skip
_NOTES: Final = [
    "twenty sentences by five voices of espeak-ng and flite, silences drawn evenly; the noise is "
    "low-passed; LibriVox: five utterances, whose ends are where their power falls below 1 %",
    "found: utterances that one stretch overlaps which overlaps no other; start, end: median "
    "distance of the edges of those found",
    "with a recogniser ('--asr'), stretches are its sentences, their edges moved to pauses",
]


def _row(name: str, kind: str, score: Score) -> tuple[str, ...]:
    wrong = f"{score.wrong / score.words:.1%}" if score.words else ""
    return (
        name,
        kind,
        f"{score.found} of {score.utterances}",
        str(score.units),
        f"{1000 * _median(score.starts):.0f}",
        f"{1000 * _median(score.ends):.0f}",
        wrong,
        f"{score.cpu / score.seconds:.4f}",
    )


def _median(values: Sequence[float]) -> float:
    import statistics

    return statistics.median(values) if values else float("nan")


def _bars(scores: dict[str, Score]) -> list[Bar]:
    wide, narrow, noisy = (scores[kind] for kind in KINDS)

    def missed(score: Score) -> float:
        return 1 - score.found / score.utterances

    return [
        Bar("share of utterances missed, long pauses", missed(wide), 0.02),
        Bar("share of utterances missed, short pauses", missed(narrow), 0.35),
        Bar("share of utterances missed, noise", missed(noisy), 0.05),
        Bar("median error of starts, s", _median(wide.starts), 0.03),
        Bar("median error of ends, s", _median(wide.ends), 0.09),
        Bar("CPU seconds a second of audio", wide.cpu / wide.seconds, 0.01),
    ]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments."""
    made = parser("Whether utterances are found in speech with known times.")
    made.add_argument(
        "--asr",
        action="append",
        default=[],
        metavar="NAME:MODEL",
        help="also cut by the sentences of a recogniser, e.g. faster-whisper:FOLDER; repeatable",
    )
    return made.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
