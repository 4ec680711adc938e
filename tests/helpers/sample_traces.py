"""Traces made by hand, without a model: what a request to a multimodal model could have given.

The scores are planted (each sentence looks at known units) with seeded noise; everything else goes
through the same ``unit_masses`` and selection as a real trace.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from omnitrace.attribution.masses import token_traces, unit_masses
from omnitrace.attribution.selection import SelectionConfig
from omnitrace.attribution.spans import SpanBuilder
from omnitrace.trace.provenance import Provenance
from omnitrace.trace.trace import Trace
from omnitrace.types import (
    ImageRegion,
    Layout,
    Locator,
    MediaRecord,
    Modality,
    PositionKind,
    SourceUnit,
    TextRange,
    TimeRange,
)

LOG = (
    "Harbour log, 14 March. The lighthouse was repainted red in spring. "
    "The ferry Alma leaves at 18:40 and carries 210 passengers. "
    "A storm warning is in force until midnight. The café on the pier is closed on Mondays."
)
QUESTION = "What does the lighthouse look like, when does the ferry leave, and is it safe to sail?"
ANSWER = (
    "The lighthouse is a red tower on the rocks at the right. "
    "The ferry Alma leaves at 18:40 with up to 210 passengers. "
    "A fog horn sounds twice in the recording. "
    "The video shows the boat turning back to the pier, since a storm warning is in force. "
    "I hope that this answers your question."
)
FORGETTABLE = frozenset(
    {"the", "a", "an", "is", "at", "on", "in", "with", "up", "to", "and", "that"}
)

WIDTH, HEIGHT = 1200, 900
ROWS, COLUMNS = 6, 8


class LayoutMaker:
    """Lays prompt positions out one part after the other."""

    def __init__(self) -> None:
        self.kinds: list[int] = []
        self.owners: list[int] = []
        self.units: list[SourceUnit] = []

    def fill(self, count: int, kind: PositionKind) -> None:
        self.kinds += [int(kind)] * count
        self.owners += [-1] * count

    def unit(
        self,
        modality: Modality,
        locator: Locator,
        count: int,
        *,
        preview: str = "",
        source_id: str | None = None,
    ) -> SourceUnit:
        start = len(self.kinds)
        self.fill(count, PositionKind.SOURCE)
        self.owners[start:] = [len(self.units)] * count
        number = 1 + sum(unit.modality == modality for unit in self.units)
        positions = tuple(range(start, start + count))
        unit = SourceUnit(f"{modality}-{number}", modality, locator, positions, preview, source_id)
        self.units.append(unit)
        return unit

    def finish(self) -> Layout:
        return Layout(
            kinds=np.array(self.kinds, dtype=np.uint8),
            unit_index=np.array(self.owners, dtype=np.int32),
            units=tuple(self.units),
        )


def jpeg(image: Image.Image, width: int = 480) -> bytes:
    image = image.resize((width, round(width * image.height / image.width)))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def harbour(boat: float, *, width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Paint a harbour with its boat at ``boat`` in [0, 1] from left to right."""
    image = Image.new("RGB", (width, height), "#a9c4d8")
    draw = ImageDraw.Draw(image)
    w, h = width, height
    draw.rectangle((0, h * 0.62, w, h), fill="#3b6480")
    draw.ellipse((w * 0.08, h * 0.08, w * 0.17, h * 0.2), fill="#f0d9a0")
    draw.polygon(
        [(w * 0.68, h * 0.7), (w * 0.76, h * 0.54), (w * 0.95, h * 0.55), (w, h * 0.7)],
        fill="#6d665c",
    )
    draw.polygon(
        [(w * 0.80, h * 0.56), (w * 0.82, h * 0.18), (w * 0.87, h * 0.18), (w * 0.89, h * 0.56)],
        fill="#b8342b",
    )
    draw.rectangle((w * 0.815, h * 0.12, w * 0.875, h * 0.18), fill="#f5ecd8")
    x = w * (0.05 + 0.5 * boat)
    draw.polygon(
        [
            (x, h * 0.66),
            (x + w * 0.2, h * 0.66),
            (x + w * 0.16, h * 0.74),
            (x + w * 0.03, h * 0.74),
        ],
        fill="#24384a",
    )
    draw.polygon(
        [(x + w * 0.1, h * 0.64), (x + w * 0.1, h * 0.4), (x + w * 0.18, h * 0.64)], "#fff"
    )
    return image


def record(
    modality: Modality, part: int, name: str, data: bytes, message: int = 0, **fields: object
) -> MediaRecord:
    digest = hashlib.sha256(data).hexdigest()
    return MediaRecord(message, part, modality, name, digest, read=lambda: data, **fields)  # type: ignore[arg-type]


def words(text: str) -> list[tuple[int, int]]:
    """Split into the ranges of words with the space before them, and of punctuation."""
    return [match.span() for match in re.finditer(r"\s*\w+|\s*[^\w\s]+", text)]


def sentences(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\S.*?[.!?](?=\s|$)", text)]


def build_trace(
    *,
    messages: Sequence[dict[str, object]],
    layout: Layout,
    text: str,
    looks_at: Sequence[dict[str, float]],
    media: Sequence[MediaRecord] = (),
    config: SelectionConfig | None = None,
    seed: int = 0,
) -> Trace:
    """Trace ``text``, each sentence of which puts the given masses on the given units.

    The names ``"instruction"`` and ``"generated"`` stand for those positions.
    """
    config = config or SelectionConfig(gamma=2.0)
    rng = np.random.default_rng(seed)
    ranges = words(text)
    spans = sentences(text)
    prompt = layout.prompt_length
    scores = np.zeros((len(ranges), prompt + len(ranges)), dtype=np.float32)
    places = {unit.id: list(unit.positions) for unit in layout.units}
    places["instruction"] = np.flatnonzero(layout.kinds == PositionKind.INSTRUCTION).tolist()
    for t, (start, _) in enumerate(ranges):
        begun = [i for i, span in enumerate(spans) if span[0] <= start + 1]
        sentence = max(begun, default=0)
        row = rng.random(prompt + t) * 0.3 / (prompt + t)
        names = looks_at[sentence]
        ahead = len([r for r in ranges[:t] if r[0] + 1 >= spans[sentence][0]])
        total = len([r for r in ranges if spans[sentence][0] <= r[0] + 1 < spans[sentence][1]])
        focus = list(names)[min(len(names) - 1, ahead * len(names) // max(total, 1))]
        for name, mass in names.items():
            where = places.get(name) or list(range(prompt, prompt + t)) or places["instruction"]
            row[where] += mass * (1.0 if name == focus else 0.25) / len(where)
        scores[t, : prompt + t] = row / row.sum()
    salience = np.array(
        [0.1 if text[a:b].strip().lower() in FORGETTABLE else 0.9 for a, b in ranges]
    ) * [any(c.isalnum() for c in text[a:b]) for a, b in ranges]
    masses = unit_masses(scores, layout, config.assign)
    ids = tuple(int(i) for i in rng.integers(0, 50_000, len(ranges)))
    tokens = token_traces(masses, layout, ids, [text[a:b] for a, b in ranges], ranges)
    builder = SpanBuilder(layout, masses, salience, ranges, config)
    return Trace(
        messages=tuple(dict(message) for message in messages),
        text=text,
        token_ids=ids,
        prompt_ids=tuple(int(i) for i in rng.integers(0, 50_000, prompt)),
        layout=layout,
        scores=scores,
        tokens=tokens,
        spans=tuple(builder.build(i, text, a, b) for i, (a, b) in enumerate(spans)),
        salience=salience,
        media=tuple(media),
        config=config,
        provenance=Provenance(
            model="example/Harbour-Omni-3B",
            adapter="qwen2_5_omni",
            revision="3f1c0de",
            config_digest="9b74c9897bac770ffc029102a200c5de",
            processor="HarbourProcessor",
            attention="omnitrace_sdpa",
            dtype="bfloat16",
            signal={
                "name": "attention-mean",
                "parameters": {"layers": "all"},
                "layers": list(range(4)),
            },
            generation={"do_sample": False, "max_new_tokens": 128},
            seed=seed,
            salience="spacy:blank-en",
            segmentation={"name": "sentencex", "language": "en"},
            versions={"omnitrace-attribution": "0.1.0", "torch": "2.9.0", "transformers": "5.23.1"},
            timings={"prefill": 0.41, "decode": 2.375},
            created="2026-03-14T18:02:11Z",
        ),
    )


def _image_units(maker: LayoutMaker, part: int) -> None:
    for block in range((ROWS // 2) * (COLUMNS // 2)):
        r, c = 2 * (block // (COLUMNS // 2)), 2 * (block % (COLUMNS // 2))
        cells = tuple((r + i) * COLUMNS + c + j for i in (0, 1) for j in (0, 1))
        box = (
            c * WIDTH / COLUMNS,
            r * HEIGHT / ROWS,
            (c + 2) * WIDTH / COLUMNS,
            (r + 2) * HEIGHT / ROWS,
        )
        maker.unit("image", ImageRegion(0, part, box, (ROWS, COLUMNS), cells), 4)


def multimodal_trace(*, config: SelectionConfig | None = None) -> Trace:
    """Text, an image, audio and a video, a question, and five sentences of response."""
    maker = LayoutMaker()
    maker.fill(4, PositionKind.TEMPLATE)
    for start, end in sentences(LOG):
        quote = LOG[start:end]
        count = len(words(quote))
        maker.unit("text", TextRange(0, 0, start, end), count, preview=quote, source_id="log")
    _image_units(maker, 1)
    for k in range(6):
        maker.unit("audio", TimeRange(0, 2, 2.0 * k, 2.0 * k + 2), 8)
    for k in range(4):
        frames = (60 * k, 60 * k + 30)
        maker.unit("video", TimeRange(0, 3, 2.0 * k, 2.0 * k + 2, frames), 12)
    maker.fill(len(words(QUESTION)), PositionKind.INSTRUCTION)
    maker.fill(5, PositionKind.TEMPLATE)
    times = tuple(float(k) for k in range(8))
    horn = [
        0.08 + 0.04 * math.sin(i / 3) ** 2 + (0.8 if 60 <= i % 180 < 110 else 0.0) * 0.95
        for i in range(400)
    ]
    frames = tuple(
        jpeg(harbour(0.2 + 0.8 * math.sin(k / 7 * math.pi), width=320, height=180), 200)
        for k in range(8)
    )
    return build_trace(
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": LOG, "source_id": "log"},
                    {"type": "image", "media": 0},
                    {"type": "audio", "media": 1},
                    {"type": "video", "media": 2},
                    {"type": "text", "text": QUESTION},
                ],
            }
        ],
        layout=maker.finish(),
        text=ANSWER,
        looks_at=[
            {"image-4": 1.6, "image-8": 1.4, "text-2": 1.5},
            {"text-3": 2.0},
            {"audio-2": 1.5, "audio-5": 1.5},
            {"video-3": 1.4, "video-4": 0.8, "text-4": 1.6},
            {"generated": 3.0, "instruction": 1.0},
        ],
        media=(
            record(
                "image",
                1,
                "pier.png",
                b"\x89PNG the original bytes of the picture" * 30,
                size=(WIDTH, HEIGHT),
                previews=(jpeg(harbour(0.3)),),
            ),
            record(
                "audio",
                2,
                "horn.wav",
                b"RIFF the original bytes of the recording" * 30,
                duration=12.0,
                waveform=tuple(horn),
            ),
            record(
                "video",
                3,
                "boat.mp4",
                b"ftyp the original bytes of the video" * 30,
                size=(320, 180),
                duration=8.0,
                frame_times=times,
                previews=frames,
                preview_times=times,
            ),
        ),
        # Without the fallback the last sentence, which repeats the question, has no support.
        config=config or SelectionConfig(fallback=False, gamma=2.0),
    )


def text_trace(documents: Sequence[str], question: str, response: str, *, seed: int = 0) -> Trace:
    """Documents as sources; sentence ``i`` of the response looks at unit ``i`` (modulo)."""
    maker = LayoutMaker()
    maker.fill(2, PositionKind.TEMPLATE)
    for part, document in enumerate(documents):
        for start, end in sentences(document) or [(0, len(document))]:
            quote = document[start:end]
            locator = TextRange(0, part, start, end)
            maker.unit("text", locator, max(1, len(words(quote))), preview=quote[:80])
    maker.fill(len(words(question)), PositionKind.INSTRUCTION)
    maker.fill(1, PositionKind.TEMPLATE)
    layout = maker.finish()
    names = [unit.id for unit in layout.units]
    content = [{"type": "text", "text": each} for each in (*documents, question)]
    return build_trace(
        messages=[{"role": "user", "content": content}],
        layout=layout,
        text=response,
        looks_at=[{names[i % len(names)]: 2.0} for i in range(len(sentences(response)))],
        seed=seed,
    )
