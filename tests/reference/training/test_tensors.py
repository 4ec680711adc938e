"""The fast tensors of training equal those of the official processor and the model's own."""

import pytest
import torch

from omnitrace.reference.render import render_audio, render_image
from omnitrace.reference.scenes import Audio, Image, Note, Video
from omnitrace.reference.training.build import build_model, build_processor
from omnitrace.reference.training.tensors import Senses, collate, encode_sample, sampled_frames
from omnitrace.reference.training.train import embedded
from omnitrace.reference.words import SYSTEM_PROMPT
from omnitrace.reference.world import Sample, make_sample

PROCESSOR = build_processor()
TOKENIZER = PROCESSOR.tokenizer
ORDERS = [
    ("text", "image", "audio", "video"),
    ("video", "audio", "image", "text"),
    ("image", "image", "text", "audio", "audio"),
    ("video", "text", "video"),
    ("audio",),
    ("text",),
]


@pytest.fixture(scope="module")
def model():
    return build_model(TOKENIZER).eval()


def sound_of(audio):
    return render_audio(audio).astype("float32") / 32768


def official(sample, system=None):
    messages = sample.messages
    if system:
        messages.insert(0, {"role": "system", "content": system})
    text = PROCESSOR.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    videos = [scene for scene in sample.scenes if isinstance(scene, Video)]
    sounds, indices = [], []
    for scene in sample.scenes:
        if isinstance(scene, Audio):
            sounds.append(sound_of(scene))
            indices.append(None)
        elif isinstance(scene, Video) and scene.sound is not None:
            sounds.append(sound_of(scene.sound))
            indices.append(videos.index(scene))
    with_sound = any(index is not None for index in indices)
    inputs = PROCESSOR(
        text=[text],
        images=[render_image(s) for s in sample.scenes if isinstance(s, Image)] or None,
        audio=sounds or None,
        videos=[sampled_frames(video) for video in videos] or None,
        videos_kwargs={"fps": 2.0, "do_sample_frames": False},
        return_tensors="pt",
        **(
            {"load_audio_from_video": True, "audio_from_video_indices": indices}
            if with_sound
            else {}
        ),
    )
    inputs.pop("num_audio_tokens", None)
    return {**inputs, "use_audio_in_video": with_sound}


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@pytest.mark.parametrize("sounding", [False, True], ids=["silent", "sounding"])
def test_the_model_says_the_same_of_both(model, order, sounding):
    sample = make_sample(11, order=order, long=False, sounding=sounding)
    system = SYSTEM_PROMPT if sounding else None
    row = encode_sample(sample, Senses(model), TOKENIZER, system=system, answers=False)
    slow = official(sample, system)
    assert row.ids.tolist() == slow["input_ids"][0].tolist()
    batch = collate([row], model.config)
    with torch.no_grad():
        expected = model(**slow).logits
        hidden = model.model(
            inputs_embeds=embedded(model, batch), position_ids=batch.positions, use_cache=False
        ).last_hidden_state
        found = model.lm_head(hidden)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_padded_batch_says_what_its_rows_say_alone(model):
    senses = Senses(model)
    samples = [make_sample(n, long=False) for n in (2, 3, 5)]
    rows = [encode_sample(sample, senses, TOKENIZER) for sample in samples]

    def hidden(batch):
        with torch.no_grad():
            return model.model(
                inputs_embeds=embedded(model, batch), position_ids=batch.positions, use_cache=False
            ).last_hidden_state

    together = hidden(collate(rows, model.config))
    for number, row in enumerate(rows):
        alone = hidden(collate([row], model.config))[0]
        torch.testing.assert_close(together[number, : len(alone)], alone, rtol=0, atol=1e-4)


def test_media_of_the_pool_are_looked_at_once(model):
    senses = Senses(model, keep=8)
    sample = make_sample(3, order=("image", "audio"), pool=8)
    kept = [senses.image(sample.scenes[0]), senses.sound(sample.scenes[1])]
    assert senses.image(sample.scenes[0]) is kept[0]
    assert senses.sound(sample.scenes[1]) is kept[1]
    free = make_sample(3, order=("image",)).scenes[0]
    assert senses.image(free) is not senses.image(free)


def test_weights_mark_the_answer_and_what_decides_values(model):
    senses = Senses(model)
    for number in range(8):
        sample = make_sample(number, order=("text", "image"))
        row = encode_sample(sample, senses, TOKENIZER, value_weight=7.0)
        assert TOKENIZER.decode(row.ids[row.weights > 0]) == sample.answer + "<|im_end|>"
        expected = []
        for value in (value for statement in sample.statements for value in statement.values):
            has_article = sample.answer[: value.start].endswith(" a ")
            expected += ["a", value.text] if has_article else [value.text]
        assert TOKENIZER.decode(row.ids[row.weights == 7.0]).split() == expected


def test_a_request_of_notes_has_no_media(model):
    sample = make_sample(1, order=("text",))
    assert isinstance(sample, Sample)
    assert all(isinstance(scene, Note) for scene in sample.scenes)
    assert encode_sample(sample, Senses(model), TOKENIZER).media.shape == (0, 128)
