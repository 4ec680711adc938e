"""The model in the package that writes its steps first: it loads, thinks, and mostly is right."""

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from omnitrace.evaluation.labels.validate import check_label
from omnitrace.reference import model_path
from omnitrace.reference.files import labels, write_sample
from omnitrace.reference.training.accuracy import (
    answer_files,
    load_model,
    samples_of,
    score_sentences,
)
from omnitrace.reference.training.build import build_processor, build_tokenizer
from omnitrace.reference.world import held_out_seed, make_sample
from omnitrace.sources.request_files import read_requests
from omnitrace.tracer import Tracer

FOLDER = model_path("reference-thinking")


@pytest.fixture(scope="module")
def loaded():
    return load_model("reference-thinking")


def test_the_weights_are_small_and_safe():
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert sum(files.values()) < 12_000_000
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    assert {"README.md", "config.json", "generation_config.json"} <= files.keys()


def test_the_shipped_processor_is_the_built_one(loaded):
    built = build_processor(build_tokenizer(thinking=True))
    assert loaded.processor.tokenizer.get_vocab() == built.tokenizer.get_vocab()
    assert loaded.processor.chat_template == built.chat_template
    markers = loaded.processor.tokenizer("<think> The sum. </think>").input_ids
    assert loaded.processor.tokenizer.decode(markers, skip_special_tokens=True).count("think>") == 2


def test_it_sees_and_hears_as_the_first_model_does():
    """What was learnt about pixels and sound is neither lost nor learnt anew."""
    first = load_file(model_path() / "model.safetensors")
    towers = [name for name in first if "visual." in name or "audio_tower." in name]
    assert len(towers) > 50
    with safe_open(FOLDER / "model.safetensors", framework="pt") as file:
        for name in towers:
            assert (file.get_tensor(name) == first[name]).all(), name


def test_traces_tell_thoughts_from_answers(loaded, tmp_path):
    tracer = Tracer(adapter=loaded)
    for number, order in enumerate((("text", "image"), ("text",), ("audio", "text"))):
        sample = make_sample(
            held_out_seed(7_000 + number), order=order, questions=2, thinking=True, long=False
        )
        (request,) = read_requests(write_sample(sample, tmp_path / str(number)))
        trace = tracer.trace(request.messages, media_root=request.media_root)
        assert trace.text.startswith("<think>")
        assert trace.text.count("</think>") == 1
        border = trace.text.index("</think>")
        sections = [span.section for span in trace.spans]
        assert sections == sorted(sections, reverse=True)  # thoughts, then answers
        assert set(sections) == {"thought", "answer"}
        for span in trace.spans:
            assert "think>" not in span.text
            assert (span.start < border) == (span.section == "thought")
        assert len(trace.spans_of("thought")) > len(trace.spans_of("answer"))
        assert check_label(labels(sample), trace) == []


def test_most_questions_are_answered_rightly(loaded, tmp_path):
    """The bar is well below what the card says; so few samples scatter."""
    right = []
    for number, sample in enumerate(samples_of("steps, one", 3, 9)):
        answer, stopped = answer_files(write_sample(sample, tmp_path / str(number)), loaded)
        assert stopped
        right.append(score_sentences(sample.statements, answer)[-1])
    assert len(right) == 12
    assert sum(right) >= 6
