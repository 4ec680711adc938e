"""What a model adapter must provide: load, encode, describe the decoder, decode tokens."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np
import torch
from torch import nn

from omnitrace.errors import InputError, NotSupportedError
from omnitrace.models.collate import Side, media_names, padded
from omnitrace.models.wrappers import unwrapped
from omnitrace.sources.messages import Conversation
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.token_map import Geometry, GridTokens, TimeTokens
from omnitrace.types import Modality

__all__ = ["Encoded", "LoadOptions", "ModelAdapter"]

# Of a token, the mean over a long text: words have 4 or 5; runs of blanks or rules are longer.
_CHARACTERS: Final = 32


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a checkpoint is loaded; the names are those of ``from_pretrained``.

    Without ``weights`` only configuration and processor are read, and the model has no content.
    """

    gguf_file: str | None = None
    revision: str | None = None
    dtype: torch.dtype | str | None = None
    device: torch.device | str | None = None
    device_map: str | Mapping[str, Any] | None = None
    attn_implementation: str | None = None
    trust_remote_code: bool = False
    weights: bool = True

    def for_config(self) -> dict[str, Any]:
        """Return the arguments that configuration, processor and tokenizer share."""
        kwargs: dict[str, Any] = {"trust_remote_code": self.trust_remote_code}
        if self.revision is not None:
            kwargs["revision"] = self.revision
        if self.gguf_file is not None:
            kwargs["gguf_file"] = self.gguf_file
        return kwargs

    def for_model(self) -> dict[str, Any]:
        """Return the arguments of the model's ``from_pretrained``."""
        kwargs = self.for_config()
        for name in ("dtype", "device_map", "attn_implementation"):
            if getattr(self, name) is not None:
                kwargs[name] = getattr(self, name)
        return kwargs


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Encoded:
    """The inputs of the model for a request, and where its tokens come from.

    ``inputs`` are the tensors for ``generate``, batch 1, on the CPU; ``prompt_ids`` the row of
    ``input_ids``; ``geometry`` the tokens of every part; ``generate_options`` the other
    arguments of ``generate`` that these inputs need.
    """

    inputs: Mapping[str, torch.Tensor]
    prompt_ids: tuple[int, ...]
    geometry: Sequence[Geometry]
    generate_options: Mapping[str, Any] = field(default_factory=dict)


class ModelAdapter(abc.ABC):
    """Connects one family of models to Omnitrace.

    Parameters
    ----------
    model:
        A ``transformers`` model with ``generate``. It is taken out of wrappers that add nothing
        outside of its layers: ``torch.compile``, data parallelism, PEFT.
    processor:
        Its processor, or its tokenizer for a text model.
    source:
        The name, folder or file that the model came from, for the trace's provenance.
    revision:
        Revision of a hub model, if one was given.
    """

    name: ClassVar[str]

    def __init__(
        self, model: Any, processor: Any, *, source: str = "", revision: str | None = None
    ) -> None:
        self.model = unwrapped(model)
        self.processor = processor
        found = getattr(self.model, "name_or_path", "") or type(self.model).__name__
        self.source = source or found
        self.revision = revision

    @classmethod
    @abc.abstractmethod
    def load(cls, path: str, options: LoadOptions) -> ModelAdapter:
        """Load model and processor from a hub id, a local folder or a GGUF file's folder."""

    @abc.abstractmethod
    def encode(self, conversation: Conversation, options: SourceOptions) -> Encoded:
        """Turn a conversation into model inputs and the geometry of its tokens.

        Raises
        ------
        InputError, MediaError, NotSupportedError
            If the model cannot take what the conversation holds.
        """

    def collate(
        self, inputs: Sequence[Mapping[str, torch.Tensor]], *, side: Side = "left"
    ) -> dict[str, torch.Tensor]:
        """Join the inputs of several requests into those of one batch.

        Parameters
        ----------
        inputs:
            The ``inputs`` of what :meth:`encode` returned, batch 1 each, perhaps with the tokens of
            a response behind them. All have entries of the same names.
        side:
            Where shorter sequences are filled up: "left" to generate, "right" for one pass.

        Returns
        -------
        dict
            The inputs of the batch, in the same order. Sequence ``i`` has ``attention_mask`` 0 at
            its padding, which makes it as long as the longest.

        Raises
        ------
        NotSupportedError
            If there are inputs that this adapter cannot join, such as those of media: the requests
            then run one at a time.
        """
        media = sorted(media_names(inputs[0]))
        if media:
            raise NotSupportedError(
                f"the adapter {self.name!r} cannot join the media of several requests "
                f"({', '.join(media)})",
                legal="requests of text alone",
            )
        return padded(inputs, side=side, silent=self.media_tokens)

    def features(self, encoded: Encoded, tokens: GridTokens | TimeTokens) -> np.ndarray:
        """Return what the model's own tower makes of a medium, for unitizers that cut by it.

        An adapter of a model with towers must provide this; others need not.

        Parameters
        ----------
        encoded:
            What :meth:`encode` returned.
        tokens:
            One of its geometries.

        Returns
        -------
        np.ndarray
            float32 ``[tokens, dimensions]``: row i is the feature of ``tokens.positions[i]``, as
            the decoder is given it. The pass leaves the model as it was.

        Raises
        ------
        NotSupportedError
            If the model has no tower for the medium, or the adapter does not support it.
        """
        raise NotSupportedError(
            f"the adapter {self.name!r} gives no features of {tokens.part.modality} for unitizers",
            legal="unitizers that need none: 'grid' and 'whole' for images, 'bins' for audio and "
            "video",
            fix="choose one of these, or give the adapter a method features()",
        )

    @property
    @abc.abstractmethod
    def tokenizer(self) -> Any:
        """The tokenizer that decodes the response."""

    @property
    def decoder(self) -> nn.Module:
        """The text decoder, whose self-attention is traced."""
        decoder: nn.Module = self.model.get_decoder()
        return decoder

    @property
    def max_context(self) -> int | None:
        """The longest prompt that the model takes, in tokens; None if it does not say."""
        text_config = self.model.config.get_text_config(decoder=True)
        limit = getattr(text_config, "max_position_embeddings", None)
        return int(limit) if limit else None

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What the model takes."""
        return ("text",)

    @property
    def media_tokens(self) -> frozenset[int]:
        """Ids of the tokens whose embeddings a forward pass replaces by those of media."""
        return frozenset()

    def check_response(self, ids: Sequence[int]) -> None:
        """Refuse a response that a pass over prompt and response would take for media.

        A model can write such tokens, one at a time, and be traced; but in one pass each of them
        asks for a medium that is not there.
        """
        for place, token in enumerate(ids):
            if token in self.media_tokens:
                silent = sorted(self.media_tokens)
                raise InputError(
                    f"token {place} of the response is {self.tokenizer.decode([token])!r}, which "
                    "stands for a part of an image, audio or video",
                    legal="responses of words",
                    fix=f"leave it out, or generate with suppress_tokens={silent}",
                )

    def check_characters(self, count: int) -> None:
        """Refuse a text that is far too long, before it is cut and made into tokens.

        Raises
        ------
        InputError
            If it has more characters than any text of as many tokens as the model takes.
        """
        limit = self.max_context
        if limit is not None and count > limit * _CHARACTERS:
            raise InputError(
                f"the texts have {count} characters; {self.source} takes {limit} tokens",
                legal=f"prompts of fewer than {limit} tokens",
                fix="shorten the texts",
            )

    def check_length(self, tokens: int) -> None:
        """Refuse a prompt that leaves no room for a response."""
        limit = self.max_context
        if limit is not None and tokens >= limit:
            raise InputError(
                f"the prompt has {tokens} tokens; {self.source} takes {limit}",
                legal=f"prompts of fewer than {limit} tokens",
                fix="shorten the texts, lower SourceOptions.video_fps, or use smaller media",
            )
