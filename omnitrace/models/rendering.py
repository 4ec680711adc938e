"""Render a conversation with a chat template, whole: calls, tools, a beginning of the response."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from omnitrace.errors import InputError, did_you_mean
from omnitrace.sources.messages import Conversation

__all__ = ["check_shown", "continues", "render"]

_TOOLS: Final = "tools"


def continues(conversation: Conversation) -> bool:
    """Whether the last message is the assistant's, and so the beginning of the response."""
    last = len(conversation.roles) - 1
    calls = conversation.more_of(last).get("tool_calls")
    return conversation.roles[last] == "assistant" and bool(conversation.of(last)) and not calls


def render(
    processor: Any,
    conversation: Conversation,
    content: Callable[[int], Any],
    *,
    without: str | None = None,
) -> str:
    """Apply the chat template of a processor or tokenizer.

    Parameters
    ----------
    processor:
        What has the template.
    conversation:
        The roles, and what templates read beside contents.
    content:
        Gives the content of a message by its number.
    without:
        What is left out: the name of a field of messages, or of an argument.

    Raises
    ------
    InputError
        If the last message of the assistant cannot be continued.
    """
    messages = [
        {
            "role": role,
            "content": content(number),
            **{k: v for k, v in conversation.more_of(number).items() if k != without},
        }
        for number, role in enumerate(conversation.roles)
    ]
    arguments = {k: v for k, v in conversation.template.items() if k != without}
    prefilled = continues(conversation)
    try:
        rendered: str = processor.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=not prefilled,
            continue_final_message=prefilled,
            **arguments,
        )
    except ValueError as error:
        if not prefilled:
            raise
        raise InputError(
            f"the last message is the assistant's, and cannot be continued: {error}",
            fix="leave it out, or end the request with a user message",
        ) from error
    return rendered


def check_shown(
    processor: Any, conversation: Conversation, content: Callable[[int], Any], prompt: str
) -> None:
    """Refuse calls, tools and arguments that the template leaves out without a word.

    Raises
    ------
    InputError
        That names what is left out.
    """
    written = _template_of(processor)
    for name in conversation.template:
        read = re.search(rf"\b{re.escape(name)}\b", written)
        if name != _TOOLS and written and not read:
            known = [
                word for word in ("enable_thinking", "thinking", "documents") if word in written
            ]
            raise InputError(
                f"the model's chat template reads no argument {name!r}",
                fix=did_you_mean(name, known) or f"leave {name!r} out",
            )
    given = {_TOOLS} if conversation.template.get(_TOOLS) else set()
    given |= {"tool_calls"} if any(each.get("tool_calls") for each in conversation.more) else set()
    for name in sorted(given):
        if render(processor, conversation, content, without=name) == prompt:
            raise InputError(
                f"the model's chat template leaves out {name!r}",
                legal=f"a model whose template shows {name!r}",
                fix="write what was called into the text of a message",
            )


def _template_of(processor: Any) -> str:
    template = getattr(processor, "chat_template", None)
    if isinstance(template, Mapping):
        return "".join(map(str, template.values()))
    return template if isinstance(template, str) else ""
