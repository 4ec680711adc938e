"""The model in the package: loads offline, is small, and answers held-out requests from files."""

import pytest

from omnitrace.reference import model_path
from omnitrace.reference.files import write_sample
from omnitrace.reference.training.accuracy import answer_files, load_model, samples_of, score
from omnitrace.reference.world import MODALITIES, held_out_seed, make_sample


@pytest.fixture(scope="module")
def loaded():
    return load_model()


def test_the_weights_are_small_and_safe():
    files = {path.name: path.stat().st_size for path in model_path().iterdir()}
    assert files["model.safetensors"] < 12_000_000
    assert sum(files.values()) < 12_000_000
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    assert {"README.md", "config.json", "generation_config.json"} <= files.keys()


def test_the_shipped_processor_is_the_built_one(loaded):
    from omnitrace.reference.training.build import build_processor

    processor = loaded.processor
    built = build_processor()
    assert processor.tokenizer.get_vocab() == built.tokenizer.get_vocab()
    assert processor.chat_template == built.chat_template
    assert processor.feature_extractor.chunk_length == 90


# The bars are what the model in the package reaches, less what chance may take of so few samples;
# its card has the figures of each category.
@pytest.mark.parametrize(("kind", "bar"), [("one", 0.8), ("several", 0.8), ("long", 0.2)])
def test_it_answers_questions_from_files(loaded, tmp_path, kind, bar):
    right = []
    for number, sample in enumerate(samples_of(kind, {"one": 2}.get(kind, 8), 9)):
        folder = tmp_path / f"{kind}-{number}"
        answer, stopped = answer_files(write_sample(sample, folder), loaded)
        assert stopped
        right += score(sample.statements, answer)
    assert len(right) >= 30
    assert sum(right) >= bar * len(right)


def test_without_its_evidence_a_value_is_not_known(loaded, tmp_path):
    """Apart from comparisons, of which every other one is right by chance."""
    right = []
    for number, sample in enumerate(samples_of("evidence removed", 2, 9)):
        if sample.statements[0].category != "two-agree":
            answer, _ = answer_files(write_sample(sample, tmp_path / str(number)), loaded)
            right += score(sample.statements, answer)
    assert len(right) == 26
    assert sum(right) <= 0.25 * len(right)


def test_score_reads_the_sentence_of_the_question():
    sample = make_sample(held_out_seed(1), questions=3, order=MODALITIES)
    assert score(sample.statements, sample.answer) == [True] * 3
    swapped = " ".join(statement.text for statement in sample.statements[::-1])
    assert score(sample.statements[:1], swapped) == [
        sample.statements[0].value in sample.statements[2].text.rstrip(".").split()
    ]
    assert score(sample.statements, "") == [False] * 3
