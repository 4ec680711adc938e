"""What the towers are taught: each token's own content, found independently of the renderer."""

import numpy as np
import pytest
import torch

from omnitrace.reference.render import render_image, render_video
from omnitrace.reference.scenes import draw_audio, draw_image, draw_video
from omnitrace.reference.training.build import build_model, build_tokenizer
from omnitrace.reference.training.towers import (
    COLUMNS,
    HUES,
    NOTHING,
    ROWS,
    SOUNDS,
    THINGS,
    Vocabulary,
    audio_targets,
    image_targets,
    tower_loss,
    video_targets,
)
from omnitrace.reference.words import COLOURS


@pytest.mark.parametrize("seed", range(12))
def test_an_image_token_says_the_item_whose_colour_it_shows(seed):
    image = draw_image(seed, crowded=True)
    pixels = render_image(image).astype(int)
    targets = image_targets(image)
    columns = image.width // 28
    assert len(targets.things) == columns * (image.height // 28)
    said = set()
    for number, (thing, hue) in enumerate(zip(targets.things, targets.hues, strict=True)):
        row, column = divmod(number, columns)
        patch = pixels[row * 28 : row * 28 + 28, column * 28 : column * 28 + 28].reshape(-1, 3)
        if thing >= 0:
            near = np.abs(patch - np.asarray(COLOURS[HUES[hue]])).max(axis=1) < 40
            assert near.mean() > 0.04
            said.add((THINGS[thing], HUES[hue]))
        elif thing == NOTHING:
            assert patch.std(axis=0).max() < 25  # the light and the noise, and no edge
    assert said == {(item.name, item.colour) for item in image.items}


@pytest.mark.parametrize("seed", range(12))
def test_an_item_and_the_ground_around_it_say_the_same_quarter(seed):
    image = draw_image(seed, crowded=True)
    targets = image_targets(image)
    items = {(item.name, item.colour): item.place for item in image.items}
    columns, rows = image.width // 28, image.height // 28
    for number, thing in enumerate(targets.things):
        place = f"{ROWS[targets.rows[number]]} {COLUMNS[targets.columns[number]]}"
        if thing >= 0 and len(items) == len(image.items):
            assert items[THINGS[thing], HUES[targets.hues[number]]] == place
        elif thing == NOTHING:
            row, column = divmod(number, columns)
            assert place.split()[0] == ("top" if row < rows / 2 else "bottom")
            assert place.split()[1] == ("left" if column < columns / 2 else "right")


@pytest.mark.parametrize("seed", range(8))
def test_a_video_token_says_what_moves_through_it(seed):
    video = draw_video(seed)
    steps = round(video.seconds)
    hues = video_targets(video).hues.reshape(steps, -1)
    frames = render_video(video, fps=2)
    for step in range(steps):
        shown = frames[2 * step : 2 * step + 2].reshape(-1, 3).astype(int)
        for hue in set(hues[step]) - {NOTHING, -100}:
            near = np.abs(shown - np.asarray(COLOURS[HUES[hue]])).max(axis=1) < 40
            assert near.sum() > 50
        present = [
            seen
            for seen in video.appearances
            if any(seen.start <= time < seen.end for time in (step, step + 0.5))
        ]
        assert (hues[step] >= 0).any() == bool(present)


@pytest.mark.parametrize("seed", range(8))
def test_a_sound_token_says_what_is_heard(seed):
    audio = draw_audio(seed)
    said = audio_targets(audio)
    assert len(said) == round(audio.seconds * 25)
    for event in audio.events:
        middle = int((event.start + event.end) / 2 * 25)
        assert SOUNDS[said[middle]] == event.name
    heard = sum(event.end - event.start for event in audio.events)
    assert (said >= 0).mean() == pytest.approx(heard / audio.seconds, abs=0.05)


def test_the_loss_falls_when_the_towers_say_the_words():
    """Gradient steps on the loss alone make tokens point to words; the words stay."""
    import random

    tokenizer = build_tokenizer()
    model = build_model(tokenizer)
    table = model.get_input_embeddings().weight.detach().clone()
    words = Vocabulary.of(model, tokenizer)
    towers = [p for n, p in model.named_parameters() if ".visual." in n or ".audio_tower." in n]
    optimizer = torch.optim.AdamW(towers, lr=2e-3)
    losses = []
    for _ in range(12):
        loss, right = tower_loss(model, words, random.Random(0), (3, 1, 2))
        assert right.keys() == {"things", "hues", "rows", "columns", "video", "sounds", "sound"}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert torch.equal(model.get_input_embeddings().weight, table)
