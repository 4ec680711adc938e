"""The token ids of a response that was given: as they are, by their bytes, or from its text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import jinja2
from transformers.convert_slow_tokenizer import bytes_to_unicode

from omnitrace.errors import InputError
from omnitrace.models.base import ModelAdapter
from omnitrace.segmentation.thinking import Thinking
from omnitrace.sources.responses.given import GivenResponse, ResponseIds

__all__ = ["check_prompt", "response_ids"]

# Private-use characters: no template treats them specially.
_THOUGHT, _SAID = "\ue000thought\ue001", "\ue000said\ue001"
_EXACT: Final = "ask a vLLM server with return_token_ids=True, or any server with logprobs=True"


def check_prompt(
    tokenizer: Any, given: GivenResponse, prompt_ids: Sequence[int], media: frozenset[int]
) -> None:
    """Refuse a response to another prompt than ours: supports would point to other words.

    A server that names each medium by one placeholder, before it is expanded, agrees.

    Parameters
    ----------
    tokenizer:
        Decodes what differs.
    given:
        The response; nothing is checked where the server did not give its prompt.
    prompt_ids:
        Our prompt.
    media:
        Ids of the tokens that stand for media.

    Raises
    ------
    InputError
        That names the first index at which they differ, both ids and what they stand for.
    """
    theirs, ours = given.prompt_ids, tuple(prompt_ids)
    if theirs is None or theirs == ours or theirs == _unexpanded(ours, media):
        return
    pairs = zip(theirs, ours, strict=False)
    length = min(len(theirs), len(ours))
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), length)

    def shown(ids: Sequence[int]) -> str:
        return f"{ids[at]} {tokenizer.decode([ids[at]])!r}" if at < len(ids) else "its end"

    raise InputError(
        f"the prompt_token_ids of {given.where} are not this prompt: at index {at} the server has "
        f"{shown(theirs)}, and here is {shown(ours)} ({len(theirs)} and {len(ours)} tokens)",
        legal="a response to the same prompt",
        fix="use the server's model and chat template, with the same system message, tools, "
        "chat_template_kwargs and sizes of media",
    )


def _unexpanded(ids: Sequence[int], media: frozenset[int]) -> tuple[int, ...]:
    """Return a prompt with one token in place of each run of a medium's."""
    return tuple(
        token for i, token in enumerate(ids) if i == 0 or token not in media or token != ids[i - 1]
    )


def response_ids(
    adapter: ModelAdapter,
    given: GivenResponse,
    *,
    thinking: Thinking | None = None,
    opened: bool = False,
) -> tuple[list[int], ResponseIds]:
    """Return the token ids of a response, from the most exact form in which it was given.

    Parameters
    ----------
    adapter:
        The model that wrote it, or that is asked about it.
    given:
        The response.
    thinking:
        The markers of thoughts, for one whose thoughts the server split off.
    opened:
        Whether the prompt ends inside a thought.

    Returns
    -------
    tuple
        The ids, and where they come from.

    Raises
    ------
    InputError
        If there are none, an id is none of the model's, or what they stand for is not the text.
    """
    tokenizer = adapter.tokenizer
    size = int(adapter.model.get_input_embeddings().num_embeddings)
    if given.ids is not None:
        for number, token in enumerate(given.ids):
            if not 0 <= token < size:
                raise InputError(
                    f"{given.ids_at}[{number}] is {token}", legal=f"token ids of 0 to {size - 1}"
                )
        if not given.ids:
            raise InputError(f"{given.ids_at} is an empty list", legal="at least one token")
        if not _says(tokenizer, given.ids, given):
            raise InputError(
                f"the token ids of {given.where} stand for "
                f"{tokenizer.decode(given.ids)[:80]!r}, and its text is "
                f"{(given.text or given.thought or '')[:80]!r}",
                legal="the response of a model with the same tokenizer",
                fix="load the model that wrote it; to ask another one, pass the text alone",
            )
        return list(given.ids), given.ids_from
    if given.pieces:
        ids = _ids_of_pieces(tokenizer, given.pieces)
        if ids is not None and _says(tokenizer, ids, given):
            return ids, "bytes"
    text = _whole_text(adapter, given, thinking, opened)
    adapter.check_characters(len(text))
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if not ids:
        raise InputError(f"{given.where} is {text!r}", legal="a text of at least one token")
    return ids, "text"


def _says(tokenizer: Any, ids: Sequence[int], given: GivenResponse) -> bool:
    """Whether ids stand for the text of a response, and its thoughts, white space aside."""
    said = [
        "".join(
            tokenizer.decode(
                list(ids), skip_special_tokens=skip, clean_up_tokenization_spaces=False
            ).split()
        )
        for skip in (False, True)
    ]
    wanted = ["".join(text.split()) for text in (given.thought, given.text) if text]
    return all(any(text in each for each in said) for text in wanted)


def _ids_of_pieces(tokenizer: Any, pieces: Sequence[bytes]) -> list[int] | None:
    """Return the token of each of these bytes; None where one is no token of this model.

    Vocabularies write a token's bytes in one of three ways: each byte as a character of its own
    (byte-level BPE), a blank as "▁" and a lone byte as "<0x0A>" (SentencePiece), or as they are.
    """
    byte_level = bytes_to_unicode()
    ids: list[int] = []
    for piece in pieces:
        names = ["".join(byte_level[byte] for byte in piece)]
        names += [f"<0x{byte:02X}>" for byte in piece] if len(piece) == 1 else []
        text = piece.decode("utf-8", "replace")
        for name in (*names, text.replace(" ", "▁"), text):
            token = tokenizer.convert_tokens_to_ids(name)  # of "unknown", where it is no token
            if token is not None and tokenizer.convert_ids_to_tokens(token) == name:
                ids.append(int(token))
                break
        else:
            return None
    return ids


def _whole_text(
    adapter: ModelAdapter, given: GivenResponse, thinking: Thinking | None, opened: bool
) -> str:
    """Return the text that the model wrote, with its thoughts between their markers."""
    if given.calls:
        raise InputError(
            f"{given.where} calls tools, and how the model wrote the calls is not said",
            legal="calls with the token ids of the response",
            fix=_EXACT,
        )
    text = given.text or ""
    if given.thought is None:
        if not text:
            raise InputError(f"{given.where} is {given.text!r}", legal="a text, or token ids")
        return text
    if thinking is None:
        raise InputError(
            f"{given.where} has thoughts, and the tracer knows no markers for them",
            legal='Tracer(…, thinking=Thinking("<think>", "</think>"))',
            fix="pass the markers of the model",
        )
    opening, closing = thinking.opening, thinking.closing
    thought = given.thought
    if thought == thought.strip() and text == text.lstrip():  # no server keeps it without a blank
        opening, closing = _frame(adapter, thinking)
    if opened:
        opening = ""
    return opening + thought + (closing + text if text or given.finished else "")


def _frame(adapter: ModelAdapter, thinking: Thinking) -> tuple[str, str]:
    """Return what the chat template writes before and after a thought, markers and lines.

    Where it shows no thoughts, each marker stands on a line of its own.
    """
    default = f"{thinking.opening}\n", f"\n{thinking.closing}\n\n"
    message = {
        "role": "assistant",
        "content": _SAID,
        **dict.fromkeys(("reasoning_content", "reasoning", "thinking"), _THOUGHT),
    }
    try:
        shown: str = adapter.processor.apply_chat_template(
            [{"role": "user", "content": "?"}, message], tokenize=False
        )
    except (jinja2.TemplateError, TypeError, ValueError, KeyError):
        return default
    if shown.count(_THOUGHT) != 1 or shown.count(_SAID) != 1:
        return default
    before, rest = shown.split(_THOUGHT)
    between = rest.split(_SAID)[0]
    start = before.rfind(thinking.opening)
    return (before[start:], between) if start >= 0 and thinking.closing in between else default
