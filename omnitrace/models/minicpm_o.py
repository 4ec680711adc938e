"""MiniCPM-o 4.5: images in slices, audio and frames of videos, through the checkpoint's own code.

Written against the published interface of ``openbmb/MiniCPM-o-4_5``, whose code comes with the
checkpoint and is run only if the user asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from PIL import Image

from omnitrace.errors import MediaError, ModelError
from omnitrace.media import LoadedAudio, LoadedImage, LoadedVideo
from omnitrace.models.base import Encoded, LoadOptions, ModelAdapter
from omnitrace.models.chat_template import locate_texts, refuse_reserved, text_geometry
from omnitrace.models.expanded_prompt import Replaced, expanded_prompt
from omnitrace.models.minicpm_o_code import loaded
from omnitrace.models.minicpm_o_prompt import PromptedMiniCPMO, packed, prompted
from omnitrace.models.picture_sizes import refuse_sizes
from omnitrace.models.places import times
from omnitrace.models.places.base import Medium
from omnitrace.models.pretrained import refuse_gguf
from omnitrace.models.processor import ProcessorAdapter
from omnitrace.models.request_media import request_media
from omnitrace.sources.messages import Conversation
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import MediaPart, TextPart
from omnitrace.sources.token_map import Geometry, GridTokens
from omnitrace.sources.unitizers.user_defined import name_of
from omnitrace.types import Modality

__all__ = ["MiniCPMOAdapter"]

_IMAGE: Final = "<image>./</image>"
_AUDIO: Final = "<audio>./</audio>"
_PLACEHOLDER: Final = re.compile(f"{re.escape(_IMAGE)}|{re.escape(_AUDIO)}")
_MARKERS: Final = ("im", "slice", "audio", "spk")
_FRAME_MS: Final = 20
_WINDOW: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Shown:
    """What one placeholder stands for: an image, an audio, or one frame of a video."""

    part: MediaPart
    content: Any


class MiniCPMOAdapter(ProcessorAdapter):
    """Adapter for MiniCPM-o 4.5, whose code comes with its checkpoint.

    It asks as the checkpoint's ``chat`` does: parts of a message on lines of their own, without
    thinking, and with the template for speech where there is audio. An image becomes an overview
    and up to nine slices, each of them 64 queries. Every query looks at all of its slice, so a
    slice is the smallest source unit; the queries of the overview look at the whole image, and are
    a unit of their own. Audio has a token every 100 ms. A video is its frames, each one piece; in a
    request with a video, images are one piece too. Its sound is not taken.
    """

    name = "minicpm-o"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What the model takes."""
        return ("text", "image", "audio", "video")

    def __init__(self, model: Any, processor: Any, **kwargs: Any) -> None:
        for owner, needed in (
            (model, ("llm", "get_vllm_embedding", "get_omni_embedding")),
            (processor, ("tokenizer", "image_processor", "get_audio_placeholder")),
        ):
            missing = [each for each in needed if not hasattr(owner, each)]
            if missing and not isinstance(owner, PromptedMiniCPMO):
                raise ModelError(
                    f"the {type(owner).__name__} has no {missing[0]}",
                    legal="the model and the processor of MiniCPM-o 4.5",
                )
        if not isinstance(model, PromptedMiniCPMO):
            model = prompted(model, processor.tokenizer)
        super().__init__(model, processor, **kwargs)

    @classmethod
    def load(cls, path: str, options: LoadOptions) -> ModelAdapter:
        """Load the model without its speech, and its processor.

        Raises
        ------
        ModelError
            For a GGUF file: ``transformers`` reads those of text models only.
        """
        from transformers import AutoProcessor

        refuse_gguf(options)
        processor = AutoProcessor.from_pretrained(path, **options.for_config())
        model = loaded(path, options)
        if options.device is not None:
            model = model.to(options.device)
        return cls(model, processor, source=path, revision=options.revision)

    @property
    def media_tokens(self) -> frozenset[int]:
        """None: the model replaces the tokens between markers in the prompt, whatever their ids."""
        return frozenset()

    def _render(self, conversation: Conversation, texts: Sequence[str]) -> str:
        remaining = iter(texts)
        messages = [
            {
                "role": role,
                "content": "\n".join(
                    next(remaining) if isinstance(part, TextPart) else _placeholders(part)
                    for part in conversation.of(number)
                ),
            }
            for number, role in enumerate(conversation.roles)
        ]
        rendered: str = self.tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=True,
            use_tts_template=bool(conversation.media("audio")),
            enable_thinking=False,
        )
        return rendered

    def encode(self, conversation: Conversation, options: SourceOptions) -> Encoded:
        """Run the processor and locate every token of the result.

        Raises
        ------
        InputError, MediaError, NotSupportedError
            If the model cannot take what the conversation holds.
        ModelError
            If the processor does not do what it says.
        """
        texts = [part for part in conversation.parts if isinstance(part, TextPart)]
        refuse_reserved(texts, self._reserved())
        prompt, anchors = locate_texts(lambda each: self._render(conversation, each), texts)
        request_media(conversation, options, self.processor)  # refuses sound of videos
        for part in conversation.media():
            refuse_sizes(part, self.processor)
        shown = [each for part in conversation.media() for each in _shown(part)]
        self._check_lengths(shown)
        output = self._processed(prompt, shown)
        prompt_ids = output["input_ids"][0].tolist()
        expanded = expanded_prompt(
            self.tokenizer,
            prompt,
            self._replacements(prompt, shown, output),
            prompt_ids,
            add_special_tokens=True,
        )
        geometry: list[Geometry] = list(
            text_geometry(texts, anchors, expanded.positions, expanded.offsets)
        )
        geometry += self._media_geometry_of(shown, expanded.replaced, output)
        input_ids = torch.tensor([prompt_ids], dtype=torch.long)
        return Encoded(
            inputs={
                "input_ids": input_ids,
                "attention_mask": torch.ones_like(input_ids),
                **packed(output),
            },
            prompt_ids=tuple(prompt_ids),
            geometry=geometry,
        )

    def _reserved(self) -> list[str]:
        ids = [
            getattr(self.tokenizer, f"{name}_{side}_id", None)
            for name in _MARKERS
            for side in ("start", "end")
        ]
        markers = [self.tokenizer.convert_ids_to_tokens(each) for each in ids if each is not None]
        # The processor takes the last of these out of every prompt.
        return [_IMAGE, _AUDIO, *markers, "<|listen|>"]

    def _check_lengths(self, shown: Sequence[_Shown]) -> None:
        """Refuse audio of several windows where the model has a place for the first alone."""
        for each in shown:
            medium = each.part.media
            if (
                isinstance(medium, LoadedAudio)
                and medium.duration > _WINDOW
                and not self.model.config.stream_input
            ):
                raise MediaError(
                    f"{name_of(each.part)} ({medium.name}) lasts {medium.duration:.1f} s, longer "
                    f"than the {_WINDOW:g} s that the model takes at once",
                    legal=f"at most {_WINDOW:g} s, or a configuration with stream_input",
                    fix="cut the audio",
                )

    def _processed(self, prompt: str, shown: Sequence[_Shown]) -> Mapping[str, Any]:
        """Run the processor as the checkpoint's ``chat`` does, every audio by itself."""
        try:
            output: Mapping[str, Any] = self.processor(
                [prompt],
                [[each.content for each in shown if each.part.modality != "audio"]],
                [[each.content for each in shown if each.part.modality == "audio"]],
                return_tensors="pt",
                **_slicing(shown),
            )
        except ValueError as error:
            raise MediaError(f"the model's processor refuses the media: {error}") from error
        return output

    def _replacements(
        self, prompt: str, shown: Sequence[_Shown], output: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Say what the processor put in place of each placeholder, by its own methods."""
        places = list(_PLACEHOLDER.finditer(prompt))
        if len(places) != len(shown):
            raise ModelError(
                f"the chat template writes {len(places)} placeholders of {len(shown)} media",
                fix="use the tokenizer's own chat template",
            )
        found: list[dict[str, Any]] = []
        images, shift = 0, 0
        for place, each in zip(places, shown, strict=True):
            if each.part.modality == "audio":
                text = self.processor.get_audio_placeholder(len(each.content), chunk_input=False)
            else:
                size = output["image_sizes"][0][images]
                text = self.processor.image_processor.get_slice_image_placeholder(
                    size, images, **_slicing(shown)
                )
                images += 1
            start, end = place.span()
            new = (start + shift, start + shift + len(text))
            shift += len(text) - (end - start)
            kind = each.part.modality
            found.append({"type": kind, "span": (start, end), "new_span": new, "replacement": text})
        return found

    def _media_geometry_of(
        self, shown: Sequence[_Shown], replaced: Sequence[Replaced], output: Mapping[str, Any]
    ) -> list[Geometry]:
        bounds = [
            tuple(bound)
            for name in ("image_bound", "audio_bounds")
            for bound in torch.as_tensor(output[name][0]).tolist()
        ]
        pieces: dict[int, list[list[int]]] = {}
        texts: dict[int, str] = {}
        for each, place in zip(shown, replaced, strict=True):
            inside = set(place.positions)
            own = [list(range(*bound)) for bound in sorted(bounds) if bound[0] in inside]
            pieces.setdefault(id(each.part), []).extend(own)
            texts[id(each.part)] = place.text
        found: list[Geometry] = []
        for number, part in enumerate({id(each.part): each.part for each in shown}.values()):
            medium = Medium(
                part=part,
                index=number,
                positions=[p for piece in pieces[id(part)] for p in piece],
                text=texts[id(part)],
                earlier=(),
                processor=self.processor,
                inputs=output,
            )
            if part.modality == "image":
                found.append(_slices(medium, pieces[id(part)]))
            elif part.modality == "video":
                found.append(times.frames(medium))
            else:
                found.append(times.every(_FRAME_MS * self.model.config.audio_pool_step)(medium))
        return found


def _shown(part: MediaPart) -> list[_Shown]:
    media = part.media
    if isinstance(media, LoadedVideo):
        return [_Shown(part, Image.fromarray(frame)) for frame in media.frames]
    return [_Shown(part, media.pixels if isinstance(media, LoadedImage) else media.samples)]


def _placeholders(part: MediaPart) -> str:
    count = len(part.media.frames) if isinstance(part.media, LoadedVideo) else 1
    return "\n".join([_AUDIO if part.modality == "audio" else _IMAGE] * count)


def _slicing(shown: Sequence[_Shown]) -> dict[str, Any]:
    """Return how images are cut: by the processor's own settings, and not at all with a video."""
    if any(each.part.modality == "video" for each in shown):
        return {"max_slice_nums": 1, "use_image_id": False}
    return {"max_slice_nums": None, "use_image_id": None}


def _slices(medium: Medium, pieces: Sequence[Sequence[int]]) -> GridTokens:
    """Return the overview and the slices, which stand row by row, with line breaks between rows.

    Every query looks at its whole slice, so none has a place in it.
    """
    size = medium.image.width, medium.image.height
    overview, *slices = pieces
    if not slices:
        return GridTokens(medium.part, overview[:1], 1, 1, *size, further=[overview[1:]])
    rows = medium.text.count("\n") + 1
    if len(slices) % rows:
        raise ModelError(
            f"{type(medium.processor).__name__} cuts {name_of(medium.part)} into {len(slices)} "
            f"slices in {rows} rows",
            legal="as many in each row",
            fix="check that processor and model are of the same release, and report this",
        )
    return GridTokens(
        medium.part,
        [piece[0] for piece in slices],
        rows,
        len(slices) // rows,
        *size,
        further=[piece[1:] for piece in slices],
        everywhere=overview,
    )
