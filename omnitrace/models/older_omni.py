"""Qwen-Omni's processors before ``transformers`` 5.23, which take and say less than newer ones.

They have an own argument for the sound of videos, and leave out the newer one without a word; and
they do not say what they put in place of a placeholder. Both can be had from what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from omnitrace.errors import ModelError
from omnitrace.models.chat_template import tokenize_with_offsets

__all__ = ["SOUND", "is_older_omni", "replacements_of"]

SOUND: Final = "use_audio_in_video"


def is_older_omni(processor: Any) -> bool:
    """Whether a processor takes the sound of videos by the older argument only."""
    from transformers import processing_utils

    if hasattr(processing_utils, "OmniModalProcessorMixin"):
        return False
    arguments = getattr(processor, "valid_processor_kwargs", None)
    videos = getattr(arguments, "__annotations__", {}).get("videos_kwargs")
    return SOUND in getattr(videos, "__annotations__", {})


def replacements_of(
    processor: Any, prompt: str, prompt_ids: Sequence[int], *, add_special_tokens: bool
) -> list[dict[str, Any]]:
    """Return what the processor put in place of each placeholder, as newer ones say it.

    Each placeholder became a run of placeholders, in markers of audio where the sound of a video
    is among them; all other tokens are those of the prompt.

    Raises
    ------
    ModelError
        If they are not.
    """
    kinds = {getattr(processor, f"{kind}_token"): kind for kind in ("image", "video", "audio")}
    tokenizer = processor.tokenizer
    before, spans = tokenize_with_offsets(tokenizer, prompt, add_special_tokens=add_special_tokens)
    texts = {tokenizer.convert_tokens_to_ids(text): text for text in kinds}
    begin, end = map(
        tokenizer.convert_tokens_to_ids, (processor.audio_bos_token, processor.audio_eos_token)
    )
    found: list[dict[str, Any]] = []
    at, shift = 0, 0
    for token, span in zip(before, spans, strict=True):
        if token not in texts:
            if prompt_ids[at : at + 1] != [token]:
                raise ModelError(
                    f"token {at} of what the processor makes of the prompt is not the prompt's own",
                    fix="use transformers 5.23 or newer, where it says what it put where",
                )
            at += 1
            continue
        start = at
        inside = {*texts, begin, end} if prompt_ids[at : at + 1] == [begin] else texts
        while at < len(prompt_ids) and prompt_ids[at] in inside:
            at += 1
        run = "".join(tokenizer.convert_ids_to_tokens(list(prompt_ids[start:at])))
        new = span[0] + shift
        found.append(
            {
                "type": kinds[texts[token]],
                "span": span,
                "new_span": (new, new + len(run)),
                "text": texts[token],
                "replacement": run,
            }
        )
        shift += len(run) - (span[1] - span[0])
    return found
