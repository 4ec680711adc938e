"""Any model of ``transformers`` with a processor: images, audio and video beside text.

The processor says what it put in place of each placeholder, so that every token of the expanded
prompt has its place; which part of a medium a token shows is the rule of the processor's family
(:mod:`omnitrace.models.families`). Nothing else depends on the family.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnitrace.capture.parameters import input_device
from omnitrace.errors import InputError, MediaError, ModelError
from omnitrace.models.base import Encoded, LoadOptions, ModelAdapter
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.models.chat_template import locate_texts, refuse_reserved, text_geometry
from omnitrace.models.collate import Side, joined_media, media_names, padded
from omnitrace.models.expanded_prompt import Replaced, expanded_prompt
from omnitrace.models.families import Family, family_of, place_of
from omnitrace.models.forward import decoder_inputs, forward_parameters, undisturbed
from omnitrace.models.media_tokens import marker_texts, placeholder_ids
from omnitrace.models.places.base import Medium
from omnitrace.models.pretrained import load_model, refuse_gguf
from omnitrace.models.processor_call import call_processor
from omnitrace.models.rendering import check_shown, render
from omnitrace.models.request_media import RequestMedia, request_media
from omnitrace.models.wrappers import check_writes_text
from omnitrace.sources.messages import Conversation
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import MediaPart, TextPart
from omnitrace.sources.token_map import Geometry, GridTokens, TimeTokens
from omnitrace.sources.unitizers.user_defined import name_of
from omnitrace.types import Modality

__all__ = ["ProcessorAdapter"]


def _has_no_processor(folder: Path) -> bool:
    """Whether a folder was saved with a tokenizer alone."""
    files = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")
    return folder.is_dir() and not any((folder / name).is_file() for name in files)


class ProcessorAdapter(ModelAdapter):
    """Adapter for every family of :data:`omnitrace.models.families.FAMILIES`, and its kin.

    A processor that no family describes works too: each of its media is one source unit.
    """

    name = "processor"

    def __init__(self, model: Any, processor: Any, **kwargs: Any) -> None:
        # A full omni model wraps the Thinker that writes the text; the Talker makes it speech.
        super().__init__(getattr(model, "thinker", model), processor, **kwargs)
        check_writes_text(self.model)
        if not hasattr(processor, "tokenizer"):
            raise ModelError(
                f"{type(self.model).__name__} needs its processor; a {type(processor).__name__} "
                "was given",
                legal="the processor of the checkpoint, as AutoProcessor.from_pretrained loads it",
            )
        if not getattr(processor.tokenizer, "is_fast", False):
            # Voxtral: mistral-common writes the prompt and says of no token where it is from.
            raise ModelError(
                f"the {type(processor.tokenizer).__name__} of {type(processor).__name__} cannot "
                "say which characters a token stands for, so no source is found in the prompt",
                legal="a processor with a fast tokenizer, and with it a chat template",
            )
        self._fed: tuple[weakref.ref[Encoded], torch.Tensor] | None = None

    @classmethod
    def load(cls, path: str, options: LoadOptions) -> ModelAdapter:
        """Load the model and its processor; of an omni model that speaks, the Thinker alone.

        A folder without the files of a processor is a model of text, and gets the adapter for that.

        Raises
        ------
        ModelError
            For a GGUF file: ``transformers`` reads those of text models only.
        """
        import transformers
        from transformers import AutoConfig, AutoModelForMultimodalLM, AutoProcessor

        refuse_gguf(options)
        if _has_no_processor(Path(path)):
            return CausalLMAdapter.load(path, options)
        processor = AutoProcessor.from_pretrained(path, **options.for_config())
        if getattr(processor, "chat_template", None) is None:
            # Some classes drop the template of their folder (Phi-4), which the tokenizer reads too.
            own = getattr(processor, "tokenizer", None)
            processor.chat_template = getattr(own, "chat_template", None)
        config = AutoConfig.from_pretrained(path, **options.for_config())
        family = family_of(config)
        chosen = family.model_class if family is not None else ""
        model_class = getattr(transformers, chosen) if chosen else AutoModelForMultimodalLM
        model = load_model(model_class, path, options)
        return cls(model, processor, source=path, revision=options.revision)

    @property
    def family(self) -> Family | None:
        """What is known of the model's family; None where nothing is."""
        return family_of(self.model.config)

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What the model takes; of a family that is not known, what its configuration names."""
        if self.family is not None:
            return self.family.modalities
        found = placeholder_ids(self.model.config)
        media: tuple[Modality, ...] = ("image", "audio", "video")
        return ("text", *(kind for kind in media if found[kind]))

    @property
    def media_tokens(self) -> frozenset[int]:
        """Ids of the placeholders that the processor repeats for every token of a medium."""
        ids = placeholder_ids(self.model.config)
        return frozenset(each for found in ids.values() for each in found)

    def _render(self, conversation: Conversation, texts: Sequence[str]) -> str:
        return render(self.processor, conversation, self._contents(conversation, texts))

    def _contents(
        self, conversation: Conversation, texts: Sequence[str]
    ) -> Callable[[int], list[dict[str, str]]]:
        own = [part for part in conversation.parts if isinstance(part, TextPart)]
        by_part = dict(zip((id(part) for part in own), texts, strict=True))
        return lambda number: [
            {"type": "text", "text": by_part[id(part)]}
            if isinstance(part, TextPart)
            else {"type": part.modality, part.modality: ""}
            for part in conversation.of(number)
        ]

    def encode(self, conversation: Conversation, options: SourceOptions) -> Encoded:
        """Run the processor and locate every token of the result.

        Raises
        ------
        InputError, MediaError, NotSupportedError
            If the model cannot take what the conversation holds.
        ModelError
            If the processor does not do what it says.
        """
        if getattr(self.processor, "chat_template", None) is None:
            raise ModelError(
                f"the {type(self.processor).__name__} of {self.source} has no chat template",
                legal="processors with a chat template, which says where media stand",
                fix="set processor.chat_template, or load a revision of the checkpoint with one",
            )
        self._check_modalities(conversation)
        texts = [part for part in conversation.parts if isinstance(part, TextPart)]
        refuse_reserved(texts, marker_texts(self.model.config, self.processor))
        prompt, anchors = locate_texts(lambda each: self._render(conversation, each), texts)
        content = self._contents(conversation, [part.text for part in texts])
        check_shown(self.processor, conversation, content, prompt)
        media = request_media(conversation, options, self.processor)
        # As apply_chat_template does: a template that begins with the token has written it.
        begin = getattr(self.tokenizer, "bos_token", None)
        special = not (begin and prompt.startswith(begin))
        output = call_processor(self.processor, prompt, media, add_special_tokens=special)
        end = getattr(self.tokenizer, "eos_token_id", None)
        if special and end is not None and output["input_ids"][0, -1] == end:
            raise ModelError(
                f"{type(self.tokenizer).__name__} ends the prompt with its end token",
                fix="load the processor with add_eos_token=False",
            )
        # A list for each prompt; without media some processors make an empty tensor of it.
        offsets = output.pop("text_replacement_offsets", None)
        replacements = [] if offsets is None else [*offsets[0]]
        prompt_ids = output["input_ids"][0].tolist()
        expanded = expanded_prompt(
            self.tokenizer, prompt, replacements, prompt_ids, add_special_tokens=special
        )
        geometry: list[Geometry] = list(
            text_geometry(texts, anchors, expanded.positions, expanded.offsets)
        )
        geometry += self._media_geometry(expanded.replaced, prompt_ids, output, media)
        return Encoded(
            inputs=self._model_inputs(output),
            prompt_ids=tuple(prompt_ids),
            geometry=geometry,
            generate_options={"use_audio_in_video": True} if media.video_sound else {},
        )

    def collate(
        self, inputs: Sequence[Mapping[str, torch.Tensor]], *, side: Side = "left"
    ) -> dict[str, torch.Tensor]:
        """Join the inputs of several requests into those of one batch.

        Raises
        ------
        NotSupportedError
            If they hold media and nothing is known of the family, or their media have sizes that
            do not fit into one tensor.
        """
        media = media_names(inputs[0])
        if not media or self.family is None:
            return super().collate(inputs, side=side)
        joined = padded(inputs, side=side, silent=self.media_tokens)
        return joined | {
            name: joined_media(name, [each[name] for each in inputs]) for name in sorted(media)
        }

    def _check_modalities(self, conversation: Conversation) -> None:
        family = self.family
        if family is None:
            return
        given: list[MediaPart] = list(conversation.media())
        for part in given:
            if part.modality not in family.modalities:
                needed = family.needs(part.modality)
                raise InputError(
                    f"{family.title} takes no {part.modality}; {name_of(part)} is one",
                    legal=", ".join(family.modalities),
                    fix=f"install transformers {needed} or newer" if needed else "",
                )
        for kind in family.one_each:
            several = [part for part in given if part.modality == kind]
            if len(several) > 1:
                raise InputError(
                    f"{family.title} takes one {kind} a request; {name_of(several[1])} is another",
                    fix="ask about them in separate requests",
                )
        kinds = {part.modality for part in given}
        for together, why in family.not_together.items():
            if kinds >= set(together):
                raise InputError(
                    f"{family.title} takes no {' and '.join(together)} in one request: {why}",
                    fix="ask about them in two requests",
                )

    def _media_geometry(
        self,
        replaced: Sequence[Replaced],
        prompt_ids: Sequence[int],
        output: Mapping[str, Any],
        media: RequestMedia,
    ) -> list[Geometry]:
        fed = placeholder_ids(self.model.config)
        silent = frozenset().union(*fed.values())
        geometry: list[Geometry] = []
        waiting = {kind: media.of(kind) for kind in ("image", "video", "audio")}
        written: dict[str, list[str]] = {kind: [] for kind in waiting}
        for each in replaced:
            earlier = written[each.modality]
            index, part = len(earlier), waiting[each.modality].pop(0)
            own = [p for p in each.positions if prompt_ids[p] in silent]
            heard = fed["audio"] if each.modality == "video" else frozenset()
            sound = [p for p in own if prompt_ids[p] in heard]
            pictures = [p for p in own if prompt_ids[p] not in heard]
            medium = Medium(
                part=part,
                index=index,
                positions=pictures,
                text=each.text,
                earlier=tuple(earlier),
                processor=self.processor,
                inputs=output,
            )
            earlier.append(each.text)
            geometry.append(place_of(self.processor, each.modality)(medium))
            if sound:
                geometry.append(self._sound_geometry(medium, sound, media))
        left = [part for rest in waiting.values() for part in rest]
        if left:
            raise ModelError(
                f"the chat template has no placeholder for {name_of(left[0])}",
                fix="use the processor's own chat template",
            )
        return geometry

    def _sound_geometry(
        self, medium: Medium, positions: Sequence[int], media: RequestMedia
    ) -> GridTokens | TimeTokens:
        index, sound = next(
            (i, audio) for i, (part, audio) in enumerate(media.audio) if part is medium.part
        )
        own = replace(medium, index=index, positions=positions, sound=sound)
        return place_of(self.processor, "audio")(own)

    def _model_inputs(self, output: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return what the model takes of the output; whole numbers and times keep their type."""
        taken = forward_parameters(self.model)
        inputs: dict[str, torch.Tensor] = {}
        for name, value in output.items():
            if name not in taken:
                continue
            try:
                tensor = torch.as_tensor(value)
            except (TypeError, ValueError) as error:
                raise MediaError(
                    f"the processor gives {name!r} as a {type(value).__name__}, not a tensor",
                    fix="pass media of one size",
                ) from error
            floating = tensor.is_floating_point() and tensor.dim() > 1
            inputs[name] = tensor.to(self.model.dtype) if floating else tensor
        return inputs

    def _forget(self, gone: weakref.ref[Encoded]) -> None:
        """Let go of the embeddings of a request that is over."""
        if self._fed is not None and self._fed[0] is gone:
            self._fed = None

    def features(self, encoded: Encoded, tokens: GridTokens | TimeTokens) -> np.ndarray:
        """Return what the towers make of one medium: the embeddings that its tokens get.

        Raises
        ------
        ModelError
            If a tower gives what is no number.
        """
        if self._fed is None or self._fed[0]() is not encoded:
            device = input_device(self.model)
            inputs = {name: value.to(device) for name, value in encoded.inputs.items()}
            with undisturbed(self.model):
                fed = decoder_inputs(self, inputs, encoded.generate_options)
            self._fed = weakref.ref(encoded, self._forget), fed.embeddings[0]
        found: np.ndarray = self._fed[1][list(tokens.positions)].float().cpu().numpy()
        if not np.isfinite(found).all():
            raise ModelError(
                f"the {tokens.part.modality} tower gives {name_of(tokens.part)} features that are "
                "not finite",
                fix="load the model with dtype=torch.float32 or torch.bfloat16",
            )
        return found
