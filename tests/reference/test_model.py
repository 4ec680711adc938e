"""The model in the package: loads offline, is small, and answers held-out requests from files."""

import pytest

from omnitrace.reference import model_path
from omnitrace.reference.accuracy import answer_files, load_model, score
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import CATEGORIES, MODALITIES, held_out_seed, make_sample

ORDERS = [MODALITIES, MODALITIES[::-1], ("audio", "text", "video", "image")]


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
    from omnitrace.reference.build import build_processor

    _, processor = loaded
    built = build_processor()
    assert processor.tokenizer.get_vocab() == built.tokenizer.get_vocab()
    assert processor.chat_template == built.chat_template
    assert processor.feature_extractor.chunk_length == 60


def test_it_answers_one_question_of_each_category(loaded, tmp_path):
    right = total = 0
    for number, category in enumerate(CATEGORIES):
        for order in ORDERS[:2]:
            sample = make_sample(
                held_out_seed(900 + number), questions=1, order=order, categories=(category,)
            )
            answer, stopped = answer_files(write_sample(sample, tmp_path), *loaded)
            assert stopped
            right += answer == sample.answer
            total += 1
    assert right >= total - 1


def test_it_answers_several_questions_in_any_order_of_parts(loaded, tmp_path):
    right = total = 0
    for number, order in enumerate([*ORDERS, ("video", "audio"), ("image", "text")]):
        sample = make_sample(held_out_seed(950 + number), questions=6, order=order)
        answer, stopped = answer_files(write_sample(sample, tmp_path), *loaded)
        assert stopped
        found = score(sample.statements, answer)
        right, total = right + sum(found), total + len(found)
    assert right >= 0.9 * total


def test_score_reads_the_sentence_of_the_question():
    sample = make_sample(held_out_seed(1), questions=3, order=MODALITIES)
    assert score(sample.statements, sample.answer) == [True] * 3
    swapped = " ".join(statement.text for statement in sample.statements[::-1])
    assert score(sample.statements[:1], swapped) == [
        sample.statements[0].value in sample.statements[2].text.rstrip(".").split()
    ]
    assert score(sample.statements, "") == [False] * 3
