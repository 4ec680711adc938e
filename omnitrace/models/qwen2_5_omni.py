"""Qwen2.5-Omni: the Thinker with its official processor and chat template.

How its tokens lie in the user's coordinates:

- image: the processor resizes without cropping, so merged vision token (row, column) of the
  ``image_grid_thw / merge_size`` grid covers that fraction of the image as displayed;
- audio: 16 kHz, hop 160, a stride-2 convolution and a pooling of 2: one token for every 40 ms;
- video: a temporal patch covers ``temporal_patch_size`` sampled frames; its seconds run from the
  first of these frames to the first of the next patch;
- sound in a video is interleaved with the pictures in chunks of ``seconds_per_chunk``, inside one
  pair of audio markers, and both have the video's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from omnitrace.errors import MediaError, ModelError, NotSupportedError
from omnitrace.media import LoadedAudio, LoadedImage, LoadedVideo
from omnitrace.models.base import Encoded, LoadOptions, ModelAdapter
from omnitrace.models.chat_template import (
    locate_texts,
    refuse_reserved,
    text_geometry,
    tokenize_with_offsets,
)
from omnitrace.models.qwen2_5_omni_towers import FRAMES_PER_TOKEN, audio_tokens, tower_features
from omnitrace.sources.messages import Conversation
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import MediaPart, TextPart
from omnitrace.sources.token_map import Geometry, GridTokens, TimeTokens
from omnitrace.sources.unitizers.user_defined import name_of

__all__ = ["Qwen25OmniAdapter"]

# The processor and the model's positions count these tokens, so no text may hold them.
_RESERVED = (
    *("image_token", "audio_token", "video_token"),
    *("audio_bos_token", "audio_eos_token", "vision_bos_token", "vision_eos_token"),
)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A medium's tokens: the ids that its placeholder expands to, and which stream each is of.

    ``streams`` has "vision", "audio" or "" (a marker) for every id.
    """

    part: MediaPart
    ids: list[int]
    streams: list[str]


class Qwen25OmniAdapter(ModelAdapter):
    """Adapter for ``Qwen2_5OmniThinkerForConditionalGeneration`` (and the full model's Thinker)."""

    name = "qwen2_5_omni"

    def __init__(self, model: Any, processor: Any, **kwargs: Any) -> None:
        # The full model wraps the Thinker that writes the text; the Talker turns it into speech.
        super().__init__(getattr(model, "thinker", model), processor, **kwargs)

    @classmethod
    def load(cls, path: str, options: LoadOptions) -> Qwen25OmniAdapter:
        """Load the Thinker alone and the official processor."""
        from transformers import Qwen2_5OmniProcessor, Qwen2_5OmniThinkerForConditionalGeneration

        if options.gguf_file is not None:
            raise ModelError(
                "transformers reads no GGUF file of Qwen2.5-Omni", legal="safetensors checkpoints"
            )
        processor = Qwen2_5OmniProcessor.from_pretrained(path, **options.for_config())
        model = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
            path, **options.for_model()
        ).eval()
        if options.device is not None:
            model = model.to(options.device)
        return cls(model, processor, source=path, revision=options.revision)

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    def _render(self, conversation: Conversation, texts: Sequence[str]) -> str:
        remaining = iter(texts)
        messages = []
        for number, role in enumerate(conversation.roles):
            content = [
                {"type": "text", "text": next(remaining)}
                if isinstance(part, TextPart)
                else {"type": part.modality, part.modality: ""}
                for part in conversation.of(number)
            ]
            messages.append({"role": role, "content": content})
        rendered: str = self.processor.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return rendered

    def encode(self, conversation: Conversation, options: SourceOptions) -> Encoded:
        """Run the processor and locate every token of the result."""
        texts = [part for part in conversation.parts if isinstance(part, TextPart)]
        processor = self.processor
        refuse_reserved(texts, [getattr(processor, name) for name in _RESERVED])
        prompt, anchors = locate_texts(lambda t: self._render(conversation, t), texts)
        video_sound = self._uses_video_sound(conversation, options)
        media = _Media(conversation, video_sound)
        self._check_media(media)
        inputs = self._process(prompt, media)
        placed = [self._place(part, inputs, media) for part in conversation.media()]
        ids, offsets = tokenize_with_offsets(self.tokenizer, prompt, add_special_tokens=True)
        expanded, text_positions, starts = self._expand(ids, placed)
        prompt_ids = inputs["input_ids"][0].tolist()
        if expanded != prompt_ids:
            raise ModelError(
                "the processor's tokens differ from what its grids and lengths say",
                fix="check that processor and model are of the same release, and report this",
            )
        text_offsets = [offsets[i] for i in sorted(text_positions)]
        positions = [text_positions[i] for i in sorted(text_positions)]
        geometry: list[Geometry] = list(text_geometry(texts, anchors, positions, text_offsets))
        for item, start in zip(placed, starts, strict=True):
            geometry += self._media_geometry(item, start, inputs, media)
        dtype = self.model.dtype
        for name in ("pixel_values", "pixel_values_videos", "input_features"):
            if name in inputs:
                inputs[name] = inputs[name].to(dtype)
        return Encoded(
            inputs=inputs,
            prompt_ids=tuple(prompt_ids),
            geometry=geometry,
            generate_options={"use_audio_in_video": True} if video_sound else {},
        )

    def features(self, encoded: Encoded, tokens: GridTokens | TimeTokens) -> np.ndarray:
        """Run the vision or the audio tower over one medium: what the decoder is given of it."""
        return tower_features(self.model, encoded, tokens)

    def _uses_video_sound(self, conversation: Conversation, options: SourceOptions) -> bool:
        """Decide whether the videos' sound is used; it is one switch for all of them."""
        videos = conversation.media("video")
        sounding = [part for part in videos if _video(part).audio is not None]
        wanted = options.use_audio_in_video
        if wanted is False or not sounding:
            if wanted is True and videos:
                raise MediaError(
                    f"{name_of(videos[0])} has no sound, but use_audio_in_video is True",
                    fix="set SourceOptions.use_audio_in_video to 'auto' or False",
                )
            return False
        if len(sounding) < len(videos):
            silent = next(part for part in videos if _video(part).audio is None)
            raise NotSupportedError(
                f"{name_of(silent)} is silent and {name_of(sounding[0])} has sound; Qwen2.5-Omni "
                "uses the sound of either all videos of a request or none",
                fix="set SourceOptions.use_audio_in_video to False, or pass the sound as audio",
            )
        return True

    def _check_media(self, media: _Media) -> None:
        extractor = self.processor.feature_extractor
        longest = extractor.n_samples / extractor.sampling_rate
        for part, audio in media.audio:
            if len(audio.samples) > extractor.n_samples:
                raise MediaError(
                    f"{name_of(part)} ({audio.name}) lasts {audio.duration:.1f} s, longer than "
                    f"the {longest:g} s that the model takes",
                    legal=f"at most {longest:g} s",
                    fix="cut the audio, or load the processor with a longer chunk_length",
                )
            frames = -(-len(audio.samples) // extractor.hop_length)
            if audio_tokens(frames) < 1:
                raise MediaError(
                    f"{name_of(part)} ({audio.name}) lasts {audio.duration:.3f} s, too short to "
                    "become a token",
                    legal=f"at least {3 * extractor.hop_length / extractor.sampling_rate:g} s",
                )
        rates = {_video(part).fps for part in media.videos}
        if media.video_sound and len(rates) > 1:
            raise NotSupportedError(
                f"the videos were sampled at different rates ({sorted(rates)} frames per second), "
                "and Qwen2.5-Omni interleaves sound at one rate",
                fix="lower SourceOptions.video_fps to the lowest of them",
            )

    def _process(self, prompt: str, media: _Media) -> dict[str, torch.Tensor]:
        kwargs: dict[str, Any] = {}
        if media.images:
            kwargs["images"] = [_image(part).pixels for part in media.images]
        if media.videos:
            kwargs["videos"] = [
                torch.from_numpy(_video(part).frames).permute(0, 3, 1, 2) for part in media.videos
            ]
            size = self.processor.video_processor.temporal_patch_size
            kwargs["videos_kwargs"] = {
                "fps": size / self._seconds_per_grid(media.videos[0]),
                "do_sample_frames": False,
            }
        if media.audio:
            kwargs["audio"] = [audio.samples for _, audio in media.audio]
        if media.video_sound:
            kwargs["load_audio_from_video"] = True
            kwargs["audio_from_video_indices"] = [
                media.videos.index(part) if part.modality == "video" else None
                for part, _ in media.audio
            ]
        try:
            inputs = self.processor(text=[prompt], return_tensors="pt", **kwargs)
        except ValueError as error:  # the processor's own limits, e.g. on aspect ratio
            raise MediaError(f"the model's processor refuses the media: {error}") from error
        if media.videos and not media.video_sound:
            # The processor takes one rate for all videos; each has its own.
            inputs["video_second_per_grid"] = torch.tensor(
                [size / _video(part).fps for part in media.videos]
            )
        return dict(inputs)

    def _seconds_per_grid(self, part: MediaPart) -> float:
        """Return the seconds of a temporal patch, such that all count chunks of sound alike.

        The processor counts in float64 and the model in float32; where float32 cannot hold the
        seconds, a patch on the edge of a chunk would fall before it for one and after it for the
        other, and the model's positions would be those of other tokens. A millionth puts it after.
        """
        seconds: float = self.processor.video_processor.temporal_patch_size / _video(part).fps
        return seconds if float(np.float32(seconds)) == seconds else seconds * (1 + 1e-6)

    def _place(self, part: MediaPart, inputs: dict[str, torch.Tensor], media: _Media) -> _Placed:
        """Say what the part's placeholder becomes."""
        processor = self.processor
        if part.modality == "image":
            count = self._vision_count(inputs["image_grid_thw"][media.images.index(part)])
            return _Placed(part, [processor.image_token_id] * count, ["vision"] * count)
        if part.modality == "audio":
            count = self._audio_count(part, inputs, media)
            return _Placed(part, [processor.audio_token_id] * count, ["audio"] * count)
        index = media.videos.index(part)
        grid = inputs["video_grid_thw"][index]
        count = self._vision_count(grid)
        if not media.video_sound:
            return _Placed(part, [processor.video_token_id] * count, ["vision"] * count)
        streams = self._interleaved(
            grid,
            self._seconds_per_grid(part),
            self._audio_count(part, inputs, media),
        )
        token = {"vision": processor.video_token_id, "audio": processor.audio_token_id}
        marker = self.tokenizer.convert_tokens_to_ids
        return _Placed(
            part,
            [
                marker(processor.audio_bos_token),
                *(token[stream] for stream in streams),
                marker(processor.audio_eos_token),
            ],
            ["", *streams, ""],
        )

    def _vision_count(self, grid: torch.Tensor) -> int:
        merge: int = self.processor.image_processor.merge_size
        return int(grid.prod()) // merge**2

    def _audio_count(self, part: MediaPart, inputs: dict[str, torch.Tensor], media: _Media) -> int:
        row = next(i for i, (given, _) in enumerate(media.audio) if given is part)
        return audio_tokens(int(inputs["feature_attention_mask"][row].sum()))

    def _interleaved(self, grid: torch.Tensor, seconds_per_grid: float, audio: int) -> list[str]:
        """Return the order of the streams' tokens, chunk by chunk, pictures first."""
        rate = self.processor.position_id_per_seconds
        chunk = int(rate * self.processor.seconds_per_chunk)
        per_step = self._vision_count(grid) // int(grid[0])
        pictures = np.repeat(np.arange(int(grid[0])), per_step) * seconds_per_grid * rate
        video_chunks = self.processor.get_chunked_index(pictures, chunk)
        audio_chunks = self.processor.get_chunked_index(np.arange(audio), chunk)
        order: list[str] = []
        for i in range(max(len(video_chunks), len(audio_chunks))):
            for stream, chunks in (("vision", video_chunks), ("audio", audio_chunks)):
                if i < len(chunks):
                    order += [stream] * int(chunks[i][1] - chunks[i][0])
        return order

    @property
    def media_tokens(self) -> frozenset[int]:
        """Ids of the placeholders that the processor repeats for every token of a medium."""
        processor = self.processor
        return frozenset(
            (processor.image_token_id, processor.audio_token_id, processor.video_token_id)
        )

    def _expand(
        self, ids: Sequence[int], placed: Sequence[_Placed]
    ) -> tuple[list[int], dict[int, int], list[int]]:
        """Expand placeholders as the processor does.

        Returns the expanded ids, the prompt position of every unexpanded token that is no
        placeholder, and the first position of every medium.
        """
        placeholders = self.media_tokens
        expanded: list[int] = []
        positions: dict[int, int] = {}
        starts: list[int] = []
        for index, token in enumerate(ids):
            if token in placeholders and len(starts) < len(placed):
                starts.append(len(expanded))
                expanded += placed[len(starts) - 1].ids
            else:
                positions[index] = len(expanded)
                expanded.append(token)
        if len(starts) < len(placed):
            raise ModelError(
                f"the chat template has {len(starts)} media placeholders for {len(placed)} media",
                fix="use the processor's own chat template",
            )
        return expanded, positions, starts

    def _media_geometry(
        self, item: _Placed, start: int, inputs: dict[str, torch.Tensor], media: _Media
    ) -> list[Geometry]:
        part = item.part
        vision = [start + i for i, stream in enumerate(item.streams) if stream == "vision"]
        sound = [start + i for i, stream in enumerate(item.streams) if stream == "audio"]
        if part.modality == "image":
            grid = inputs["image_grid_thw"][media.images.index(part)]
            merge = self.processor.image_processor.merge_size
            image = _image(part)
            rows, columns = int(grid[1]) // merge, int(grid[2]) // merge
            return [GridTokens(part, vision, rows, columns, image.width, image.height)]
        geometry: list[Geometry] = []
        if vision:
            grid = inputs["video_grid_thw"][media.videos.index(part)]
            geometry.append(self._pictures(part, vision, int(grid[0])))
        if sound:
            extractor = self.processor.feature_extractor
            seconds = FRAMES_PER_TOKEN * extractor.hop_length / extractor.sampling_rate
            intervals = [(k * seconds, (k + 1) * seconds) for k in range(len(sound))]
            audio = next(audio for given, audio in media.audio if given is part)
            geometry.append(TimeTokens(part, "audio", sound, intervals, audio.duration))
        return geometry

    def _pictures(self, part: MediaPart, positions: list[int], steps: int) -> TimeTokens:
        """Describe the vision tokens of a video: ``steps`` temporal patches of equal size."""
        video = _video(part)
        size = self.processor.video_processor.temporal_patch_size
        firsts = [float(video.times[min(i * size, len(video.times) - 1)]) for i in range(steps)]
        # A frame that is shown for long is sampled again: until the next one it is the same.
        ends = [
            next((t for t in firsts[i:] if t > firsts[i]), video.duration) for i in range(steps)
        ]
        per_step = len(positions) // steps
        return TimeTokens(
            part,
            "video",
            positions,
            [(firsts[i], ends[i]) for i in range(steps) for _ in range(per_step)],
            video.duration,
            [
                tuple(int(f) for f in video.frame_indices[i * size : (i + 1) * size])
                for i in range(steps)
                for _ in range(per_step)
            ],
        )


class _Media:
    """The media of a request in the orders in which the processor takes them."""

    def __init__(self, conversation: Conversation, video_sound: bool) -> None:
        self.video_sound = video_sound
        self.images = conversation.media("image")
        self.videos = conversation.media("video")
        self.audio: list[tuple[MediaPart, LoadedAudio]] = []
        for part in conversation.media():
            if isinstance(part.media, LoadedAudio):
                self.audio.append((part, part.media))
            elif video_sound and isinstance(part.media, LoadedVideo):
                assert part.media.audio is not None, "checked by _uses_video_sound"
                self.audio.append((part, part.media.audio))


def _image(part: MediaPart) -> LoadedImage:
    assert isinstance(part.media, LoadedImage)
    return part.media


def _video(part: MediaPart) -> LoadedVideo:
    assert isinstance(part.media, LoadedVideo)
    return part.media
