"""What Qwen-Omni's processors put in place of media, where they do not say it themselves."""

from __future__ import annotations

from typing import Any

import pytest

from omnitrace.errors import MediaError, ModelError
from omnitrace.models import processor_call
from omnitrace.models.older_omni import replacements_of
from omnitrace.models.processor import ProcessorAdapter
from omnitrace.reference.training.build import build_processor
from omnitrace.sources.options import SourceOptions
from tests.helpers import qwen_omni as omni

ADAPTER = omni.small()
REQUESTS: dict[str, list[Any]] = {
    "images": [omni.image(60, 80), "and", omni.image(130, 70), "What?"],
    "audio": ["Hear:", omni.audio(omni.noise(1.3)), omni.audio(omni.noise(2.0)), "What?"],
    "too short": [omni.audio(omni.noise(1)[:160]), "and", omni.audio(omni.noise(1)), "What?"],
    "a silent video": [omni.image(60, 60), omni.video(9, 2.0), omni.audio(omni.noise(1)), "What?"],
    "sounding videos": [
        *(omni.video(9, 2.0, sound=4.5), omni.audio(omni.noise(1))),
        *(omni.video(4, 2.0, sound=2.0), omni.image(60, 60), "What?"),
    ],
}


@pytest.mark.parametrize("name", REQUESTS)
def test_they_are_what_newer_processors_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With versions before 5.23 the found ones are compared with the tokens alone, by encode."""
    prompts: list[tuple[str, list[int], list[Any]]] = []
    real = processor_call.call_processor

    def spy(processor: Any, prompt: str, media: Any, **options: Any) -> dict[str, Any]:
        found = real(processor, prompt, media, **options)
        said = found["text_replacement_offsets"][0]
        prompts.append((prompt, found["input_ids"][0].tolist(), said))
        return found

    monkeypatch.setattr("omnitrace.models.processor.call_processor", spy)
    conversation = omni.conversation(*REQUESTS[name])
    if name == "too short":
        with pytest.raises(MediaError, match="too short"):
            ADAPTER.encode(conversation, SourceOptions())
    else:
        ADAPTER.encode(conversation, SourceOptions())
    ((prompt, ids, said),) = prompts
    found = replacements_of(ADAPTER.processor, prompt, ids, add_special_tokens=True)
    assert found == [{**each, "span": tuple(each["span"])} for each in said]


def test_other_tokens_than_the_prompts_are_refused() -> None:
    prompt = "one two"
    ids = ADAPTER.tokenizer(prompt)["input_ids"]
    with pytest.raises(ModelError, match="not the prompt's own") as caught:
        replacements_of(ADAPTER.processor, prompt, ids[1:], add_special_tokens=True)
    assert "5.23" in caught.value.fix


def test_a_processor_that_does_not_say_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of Gemma 3n and Phi-4 before 5.23."""
    silent = build_processor(ADAPTER.tokenizer)

    class Silent(type(silent)):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            found = super().__call__(*args, **kwargs)
            found.pop("text_replacement_offsets", None)
            return found

    silent.__class__ = Silent
    monkeypatch.setattr(processor_call, "is_older_omni", lambda processor: False)
    with pytest.raises(ModelError, match=r"Silent of transformers 5.* does not say") as caught:
        omni.encode(ProcessorAdapter(ADAPTER.model, silent), omni.image(60, 60), "What?")
    assert "5.23" in caught.value.fix
