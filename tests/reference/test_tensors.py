"""The fast tensors of training equal those of the official processor."""

import itertools

import pytest
import torch

from omnitrace.reference.build import build_processor
from omnitrace.reference.render import render_audio, render_image, render_video
from omnitrace.reference.tensors import encode_batch
from omnitrace.reference.words import SYSTEM_PROMPT
from omnitrace.reference.world import MODALITIES, make_sample

PROCESSOR = build_processor()
ORDERS = [*list(itertools.permutations(MODALITIES))[::5], ("audio",), ("text",), ("video", "image")]


def official(sample, system):
    messages = sample.messages
    if system:
        messages.insert(0, {"role": "system", "content": system})
    text = PROCESSOR.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    sound = sample.audio and render_audio(sample.audio, sample.seed).astype("float32") / 32768
    return PROCESSOR(
        text=[text],
        images=[render_image(sample.image, sample.seed)] if sample.image else None,
        audio=[sound] if sample.audio else None,
        videos=[render_video(sample.video, sample.seed, fps=2)] if sample.video else None,
        videos_kwargs={"fps": 2.0, "do_sample_frames": False},
        return_tensors="pt",
    )


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@pytest.mark.parametrize("system", [None, SYSTEM_PROMPT], ids=["plain", "system"])
def test_fast_tensors_equal_the_processors(order, system):
    sample = make_sample(11, order=order)
    fast = encode_batch([sample], PROCESSOR.tokenizer, systems=[system], answers=False).inputs
    slow = dict(official(sample, system))
    slow.pop("num_audio_tokens", None)
    if "input_features" in slow:
        frames = int(slow["feature_attention_mask"].sum())
        assert frames == fast["input_features"].shape[-1]
        slow["input_features"] = slow["input_features"][..., :frames]
        slow["feature_attention_mask"] = slow["feature_attention_mask"][..., :frames]
    assert fast.keys() == slow.keys()
    for name, tensor in slow.items():
        assert fast[name].shape == tensor.shape, name
        torch.testing.assert_close(
            fast[name].double(), tensor.double(), rtol=0, atol=1e-5, msg=name
        )


def test_weights_mark_the_answer_and_its_values():
    samples = [make_sample(n) for n in range(6)]
    tokenizer = PROCESSOR.tokenizer
    batch = encode_batch(samples, tokenizer, value_weight=7.0)
    for sample, ids, weights in zip(samples, batch.inputs["input_ids"], batch.weights, strict=True):
        assert tokenizer.decode(ids[weights > 0]) == sample.answer + "<|im_end|>"
        values = [statement.value for statement in sample.statements]
        assert tokenizer.decode(ids[weights == 7.0]).split() == values
