"""What clients send, checked before anything is done with it; what is unknown is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["MediaPartIn", "MessageIn", "RunIn", "SourcesIn", "TextPartIn"]

# The name of a unitizer with numbers as its parameters: others may name files of the server.
_UNITIZER = r"^[a-z0-9][a-z0-9-]*(:[a-z_]+=[0-9]+(\.[0-9]+)?(,[a-z_]+=[0-9]+(\.[0-9]+)?)*)?$"
UnitizerName = Annotated[str, Field(max_length=100, pattern=_UNITIZER)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TextPartIn(_Strict):
    """A text, which may be marked as a source."""

    type: Literal["text"]
    text: str
    source: bool | None = None
    source_id: Annotated[str, Field(max_length=500)] | None = None
    title: Annotated[str, Field(max_length=500)] | None = None


class MediaPartIn(_Strict):
    """A medium that was uploaded before."""

    type: Literal["image", "audio", "video"]
    upload: Annotated[str, Field(max_length=100)]
    source_id: Annotated[str, Field(max_length=500)] | None = None


class MessageIn(_Strict):
    """A message of the conversation."""

    role: Literal["system", "user", "assistant"]
    content: str | list[Annotated[TextPartIn | MediaPartIn, Field(discriminator="type")]]


class SourcesIn(_Strict):
    """How sources are cut: names of unitizers, as ``/api/about`` lists them."""

    text: Literal["sentence", "paragraph", "whole", "documents"] | None = None
    image: UnitizerName | None = None
    audio: UnitizerName | None = None
    video: UnitizerName | None = None
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] | None = None

    def given(self) -> dict[str, Any]:
        """Return what was asked for."""
        return self.model_dump(exclude_none=True)


class RunIn(_Strict):
    """A request to the model."""

    messages: list[MessageIn]
    signal: Annotated[str, Field(max_length=100)] | None = None
    verify: bool | None = None
    sources: SourcesIn | None = None
    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
