"""The requests of the OpenAI-compatible endpoints, read strictly: what has no meaning is refused.

Each parameter of OpenAI's works, is accepted because by its nature it changes nothing here (as
``user``), or is refused by its name unless it has the value that asks for nothing.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from omnitrace.serve.api.schema import SourcesIn
from omnitrace.serve.openai.errors import ApiError, invalid_request

__all__ = [
    "REFUSED",
    "AttributionOptions",
    "AttributionRequest",
    "AudioPart",
    "AudioUrlPart",
    "ChatMessage",
    "ChatRequest",
    "FilePart",
    "ImagePart",
    "Part",
    "RefusalPart",
    "StreamOptions",
    "TextPart",
    "VideoPart",
    "read_request",
]

_STOPS: Final = 4
_Read = TypeVar("_Read", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class _Marked(_Strict):
    """What a part may say of its document, beside OpenAI's own keys."""

    source_id: str | int | None = Field(
        None, description="Name of the document; parts that share it are one document."
    )
    source: bool | None = Field(None, description="Whether the part is a source.")
    units: list[Any] | None = Field(None, description="Ranges, boxes or seconds that can be cited.")
    title: str | None = Field(None, description="What a citation calls the document.")
    metadata: dict[str, Any] | None = Field(None, description="Given back with each citation.")


class TextPart(_Marked):
    """A text."""

    type: Literal["text"]
    text: str


class ImageUrl(_Strict):
    """An image: a data URL, or an address that the server may fetch."""

    url: str
    detail: Literal["auto", "high"] | None = Field(
        None, description="The model is given the image as its processor makes it."
    )


class ImagePart(_Marked):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(_Strict):
    """A recording in base64."""

    data: str
    format: str | None = Field(None, description="Not needed: the file says what it is.")


class AudioPart(_Marked):
    """A recording."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class MediaUrl(_Strict):
    """A recording or video: a data URL, or an address that the server may fetch."""

    url: str


class AudioUrlPart(_Marked):
    """A recording by its URL, as vLLM has it."""

    type: Literal["audio_url"]
    audio_url: MediaUrl


class VideoPart(_Marked):
    """A video, as vLLM has it."""

    type: Literal["video_url"]
    video_url: MediaUrl


class FileData(_Strict):
    """A file as a data URL of a text, image, recording or video."""

    file_data: str
    filename: str | None = None


class FilePart(_Marked):
    """A file; it is a source, and a text's title is its name."""

    type: Literal["file"]
    file: FileData


class RefusalPart(_Strict):
    """What a model said when it would not answer; only in messages of the assistant."""

    type: Literal["refusal"]
    refusal: str


Part: TypeAlias = Annotated[
    TextPart | ImagePart | AudioPart | AudioUrlPart | VideoPart | FilePart | RefusalPart,
    Field(discriminator="type"),
]


class ChatMessage(_Marked):
    """One message; a tool's result is a source, as are documents beside the question."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = Field(None, description="Of an earlier response; not read.")
    audio: dict[str, Any] | None = Field(None, description="Of an earlier response; not read.")
    function_call: None = None


class StreamOptions(_Strict):
    """How a response is streamed."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = Field(None, description="Accepted; nothing is padded.")


class AttributionOptions(_Strict):
    """How the response is attributed."""

    signal: str | None = Field(None, description="Name of a signal; the server's own by default.")
    verify: bool | None = Field(
        None, description="Whether supports are verified by ablation at the end."
    )
    sources: SourcesIn | None = Field(
        None, description="How sources are cut: a name for each modality, see `GET /api/about`."
    )
    provisional: bool = Field(
        True, description="Whether a stream says what supports a sentence that is not finished."
    )


_RETRY: Final = "send the request again, with another seed"
#: Parameters that cannot be given: the values that ask for nothing, and what to do instead.
REFUSED: Final[dict[str, tuple[tuple[Any, ...], str]]] = {
    "n": ((1,), _RETRY),
    "frequency_penalty": ((0,), "use repetition_penalty"),
    "presence_penalty": ((0,), "use repetition_penalty"),
    "logit_bias": (({},), "leave it out"),
    "logprobs": ((False,), "leave it out"),
    "top_logprobs": ((0,), "leave it out"),
    "response_format": (({"type": "text"},), "ask for the format in a message"),
    "modalities": ((["text"],), "leave it out: the model writes text"),
    "audio": ((), "leave it out: the model writes text"),
    "functions": (([],), "use 'tools'"),
    "function_call": (("none",), "use 'tools'"),
    "reasoning_effort": ((), "use 'chat_template_kwargs', where the template reads such a name"),
    "verbosity": ((), "ask for it in a message"),
    "web_search_options": ((), "search first, and pass the results as sources"),
    "moderation": ((), "leave it out"),
}


_ACCEPTED: Any = Field(None, description="Accepted; it changes nothing here.")


class _Asked(_Strict):
    """What both endpoints take."""

    model: str = Field(description="As `GET /v1/models` names it.")
    messages: list[ChatMessage] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = Field(
        None, description="Functions that the chat template is given."
    )
    chat_template_kwargs: dict[str, Any] | None = Field(
        None, description="Further arguments that the model's chat template reads."
    )
    user: str | None = Field(None, description="As safety_identifier, which comes first.")
    metadata: dict[str, Any] | None = _ACCEPTED


class ChatRequest(_Asked):
    """A request of ``POST /v1/chat/completions``."""

    max_completion_tokens: int | None = Field(None, ge=1)
    max_tokens: int | None = Field(None, ge=1, description="The earlier name of the same.")
    temperature: float | None = Field(
        None, ge=0, le=2, description="0, or neither this nor top_p: greedy decoding."
    )
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=1, description="As vLLM has it.")
    min_p: float | None = Field(None, ge=0, le=1, description="As vLLM has it.")
    repetition_penalty: float | None = Field(None, gt=0, description="As vLLM has it.")
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = Field(None, description="Up to 4 texts that end the response.")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tool_choice: Literal["auto", "none"] | None = Field(
        None, description="'none' keeps the tools from the template."
    )
    attribution: bool | AttributionOptions | None = Field(
        None, description="False leaves attributions out."
    )

    safety_identifier: str | None = Field(
        None, description="For whom the request counts, where several are behind one address."
    )
    store: bool | None = _ACCEPTED
    parallel_tool_calls: bool | None = _ACCEPTED
    prediction: dict[str, Any] | None = _ACCEPTED
    prompt_cache_key: str | None = _ACCEPTED
    prompt_cache_options: dict[str, Any] | None = _ACCEPTED
    prompt_cache_retention: str | None = _ACCEPTED
    service_tier: Literal["auto", "default"] | None = _ACCEPTED

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.max_tokens is not None and self.max_completion_tokens not in (
            None,
            self.max_tokens,
        ):
            raise ValueError("one of max_tokens and max_completion_tokens")
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stops) > _STOPS or not all(stops):
            raise ValueError(f"a stop of at most {_STOPS} texts, none of them empty")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options only with stream: true")
        return self

    @property
    def new_tokens(self) -> int | None:
        """Longest response, in tokens; None where the request does not say."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end the response."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def attributes(self) -> bool:
        """Whether the response is given with attributions."""
        return self.attribution is not False

    @property
    def attribution_options(self) -> AttributionOptions:
        """How it is attributed."""
        given = self.attribution
        return given if isinstance(given, AttributionOptions) else AttributionOptions()


class AttributionRequest(_Asked):
    """A request of ``POST /v1/attributions``: a response that exists, to be attributed."""

    response: str | list[int] | dict[str, Any] = Field(
        description="The response: its text, its token ids (which is exact), or the response "
        "object of an OpenAI-compatible server."
    )
    attribution: AttributionOptions | None = None

    @property
    def attribution_options(self) -> AttributionOptions:
        """How it is attributed."""
        return self.attribution or AttributionOptions()


def read_request(schema: type[_Read], body: bytes) -> _Read:
    """Read the body of a request.

    Raises
    ------
    ApiError
        That names the parameter which is unknown, missing, refused or of a wrong value.
    """
    try:
        given = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(
            f"the body is no JSON: {error}", legal="one JSON object", code="invalid_json"
        ) from error
    if not isinstance(given, dict):
        raise ApiError(
            f"the body is {type(given).__name__}", legal="one JSON object", code="invalid_json"
        )
    known = list(schema.model_fields)
    if schema is ChatRequest:
        given = _without_refused(given)
        known += REFUSED
    try:
        return schema.model_validate(given)
    except ValidationError as error:
        raise invalid_request(error, given, known) from error


def _without_refused(given: dict[str, Any]) -> dict[str, Any]:
    """Leave out what asks for nothing, and refuse what asks for what there is not."""
    for name, (nothing, fix) in REFUSED.items():
        value = given.get(name)
        # A bool is no number here: 1 == True.
        if value is None or any(
            value == each and isinstance(value, bool) == isinstance(each, bool) for each in nothing
        ):
            continue
        legal = ", ".join(json.dumps(each) for each in nothing)
        raise ApiError(
            f"{name} is {_shown(value)}, which is not supported",
            legal=f"{legal}, or none" if legal else "none",
            fix=fix,
            param=name,
            code="unsupported_parameter",
        )
    return {name: value for name, value in given.items() if name not in REFUSED}


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:60]}…"
