"""Run a model's own ``generate``, with or without the engine's capture."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList
from transformers.generation.configuration_utils import GenerationMode
from transformers.generation.streamers import BaseStreamer

from omnitrace._utils.checks import check_whole
from omnitrace.capture.cache_argument import CACHE_NAMES
from omnitrace.capture.parameters import input_device
from omnitrace.errors import InputError, NotSupportedError, did_you_mean
from omnitrace.models.forward import undisturbed

if TYPE_CHECKING:
    from omnitrace.models.base import Encoded, ModelAdapter

__all__ = [
    "StepStreamer",
    "TokenStreamer",
    "alone",
    "defers",
    "ended",
    "forced",
    "generation_config",
    "generation_record",
    "greedy_ids",
    "seeded",
    "stop_at_last_position",
    "stop_tokens",
]

DEFAULT_NEW_TOKENS: Final = 256
_PLAIN = (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE)
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")


class StepStreamer(BaseStreamer):  # type: ignore[misc]
    """Hands the tokens of each step to a callback, and to the user's streamer if there is one.

    There is one token for every sequence of the batch.
    """

    def __init__(self, push: Callable[[list[int]], None], also: BaseStreamer | None = None) -> None:
        self._push = push
        self._also = also
        self._prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        """Take what ``generate`` streams: first the prompt, then the tokens of a step."""
        if self._also is not None:
            self._also.put(value)
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        self._push(value.flatten().tolist())

    def end(self) -> None:
        """Pass the end on to the user's streamer."""
        if self._also is not None:
            self._also.end()


class TokenStreamer(StepStreamer):
    """Hands each selected token to a callback, and to the user's own streamer if there is one."""

    def __init__(self, push: Callable[[int], None], also: BaseStreamer | None = None) -> None:
        def each(ids: list[int]) -> None:
            for token_id in ids:
                push(token_id)

        super().__init__(each, also)


def generation_config(
    model: Any, kwargs: Mapping[str, Any]
) -> tuple[GenerationConfig, dict[str, Any]]:
    """Merge the model's generation settings with the user's, and refuse what cannot be traced.

    Decoding is greedy unless the user asks for sampling. Returns the configuration and the
    arguments that are not settings (logits processors, stopping criteria, a streamer, …).

    Raises
    ------
    InputError
        If ``generate`` has no such argument.
    NotSupportedError
        If rows could not be matched with tokens: beam search, assisted decoding, prompt look-up,
        classifier-free guidance, several sequences, compiled decoding, a user's own cache.
    """
    rest = dict(kwargs)
    if rest.get("max_new_tokens") is None:
        rest.pop("max_new_tokens", None)
    given = rest.pop("generation_config", None)
    config = copy.deepcopy(given if given is not None else model.generation_config)
    if given is None and "do_sample" not in rest:
        config.do_sample = False
    if given is None:
        config.max_length = None
    _refuse_inputs(rest)
    _refuse_values(rest)
    try:
        rest = config.update(**rest)
    except ValueError as error:
        raise InputError(
            f"generate() refuses the settings: {str(error).splitlines()[0]}",
            legal="settings of transformers.GenerationConfig",
        ) from error
    _refuse_unknown(rest, model)
    if not config.do_sample and given is None:
        for name in _SAMPLING:  # the checkpoint's own sampling settings mean nothing to greedy
            if name not in kwargs:
                setattr(config, name, None)
    if config.max_new_tokens is None and config.max_length is None:
        config.max_new_tokens = DEFAULT_NEW_TOKENS
    _refuse(config, rest, model)
    return config, rest


#: Lowest and highest temperature by which logits can be divided and still be numbers.
TEMPERATURES: Final = (1e-5, 1e5)
# What a request is made of: given once more, it would move or replace what was encoded.
_INPUTS: Final[Mapping[str, str]] = {
    "use_audio_in_video": "set SourceOptions.use_audio_in_video",
    **dict.fromkeys(
        ("input_ids", "attention_mask", "position_ids", "pixel_values", "input_features"),
        "pass texts and media as messages",
    ),
}


def _refuse_inputs(given: Mapping[str, Any]) -> None:
    """Refuse what belongs to the request, and would change what its tokens are."""
    for name, fix in _INPUTS.items():
        if given.get(name) is not None:
            raise InputError(f"{name!r} is a part of the request", fix=fix)


def _refuse_values(given: Mapping[str, Any]) -> None:
    """Refuse what generate() would refuse too, but with the fix."""
    tokens, temperature = given.get("max_new_tokens"), given.get("temperature")
    if isinstance(tokens, int) and tokens < 1:
        raise InputError(f"max_new_tokens is {tokens}", legal="at least 1")
    low, high = TEMPERATURES
    if isinstance(temperature, int | float) and not low <= temperature <= high:
        raise InputError(
            f"temperature is {temperature:g}",
            legal=f"more than 0: {low:g} to {high:g}",
            fix="leave it out and pass do_sample=False, which is greedy decoding",
        )


def _refuse_unknown(rest: Mapping[str, Any], model: Any) -> None:
    """Refuse misspelt arguments before any work is done."""
    known = {
        *inspect.signature(model.generate).parameters,
        *inspect.signature(model.forward).parameters,
        *("tokenizer", "assistant_tokenizer"),
        *CACHE_NAMES,
    }
    for name in rest:
        if name not in known:
            raise InputError(
                f"{name!r} is no argument of generate()",
                legal="settings of transformers.GenerationConfig, arguments of generate()",
                fix=did_you_mean(name, [*known, *vars(GenerationConfig())]),
            )


def _refuse(config: GenerationConfig, rest: Mapping[str, Any], model: Any) -> None:
    reasons: dict[str, bool] = {
        "num_return_sequences > 1": (config.num_return_sequences or 1) > 1,
        "guidance_scale": config.guidance_scale not in (None, 1, 1.0),
        **{name: rest.get(name) is not None for name in CACHE_NAMES},
        "token healing, which changes the prompt,": bool(getattr(config, "token_healing", False)),
        "custom_generate": rest.get("custom_generate") is not None,
        "inputs_embeds": rest.get("inputs_embeds") is not None,
    }
    mode = config.get_generation_mode(rest.get("assistant_model"))
    if mode not in _PLAIN:
        reasons[str(getattr(mode, "value", mode)).replace("_", " ")] = True
    compiled = config.cache_implementation in ("static", "hybrid", "sliding_window")
    if compiled and model.device.type != "cpu" and not config.disable_compile:
        reasons["compiled decoding (pass disable_compile=True)"] = True
    found = [name for name, present in reasons.items() if present]
    if found:
        raise NotSupportedError(
            f"{found[0]} is not supported: its steps cannot be matched with the tokens written",
            legal="greedy decoding or sampling of one sequence",
        )


def stop_at_last_position(
    config: GenerationConfig, adapter: ModelAdapter, prompt_length: int
) -> None:
    """Let a response end with the last position that the model has learned.

    A model that looks its positions up in a table (GPT-2, OPT) has none behind it; rotary and
    relative positions go on.
    """
    limit = adapter.max_context
    if limit is None or not any(
        isinstance(module, torch.nn.Embedding) and ("pos" in name or name.endswith("wpe"))
        for name, module in adapter.decoder.named_modules()
    ):
        return
    left = limit - prompt_length
    if config.max_new_tokens is not None and config.max_new_tokens > left > 0:
        config.max_new_tokens = left


class _Forced(LogitsProcessor):  # type: ignore[misc]
    """Leaves ``generate`` one choice a step: each response's own token."""

    def __init__(self, responses: Sequence[Sequence[int]], prompt_length: int) -> None:
        self._responses = responses
        self._prompt_length = prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        step = input_ids.shape[1] - self._prompt_length
        forced = torch.full_like(scores, -torch.inf)
        for row, response in enumerate(self._responses):
            # What follows a response that is shorter than others is not read.
            forced[row, response[min(step, len(response) - 1)]] = 0.0
        return forced


def forced(responses: Sequence[Sequence[int]], prompt_length: int) -> LogitsProcessorList:
    """Return what lets ``generate`` choose only the tokens of ``responses``, one a sequence."""
    return LogitsProcessorList([_Forced(responses, prompt_length)])


# Settings that count or compare the prompt's tokens, and so would see the padding of a batch; what
# they are where they do nothing.
_SEE_PADDING: Final[Mapping[str, Any]] = {
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "max_length": None,
}
# Settings and arguments that end a response or look at it in a way of their own.
_OWN_WAYS: Final = (
    "stop_strings",
    "max_time",
    "logits_processor",
    "stopping_criteria",
    "streamer",
    "prefix_allowed_tokens_fn",
    "synced_gpus",
)


def alone(config: GenerationConfig, rest: Mapping[str, Any]) -> str | None:
    """Return why requests with these settings and arguments cannot share a batch, if so."""
    for name, nothing in _SEE_PADDING.items():
        if (getattr(config, name, nothing) or nothing) != nothing:
            if name == "max_length" and config.max_new_tokens is not None:
                continue
            return f"{name} would count the padding of a batch"
    for name in _OWN_WAYS:
        if rest.get(name) is not None or getattr(config, name, None) is not None:
            return f"{name} is made for one response at a time"
    return None


def generation_record(config: GenerationConfig) -> dict[str, Any]:
    """Return the settings that differ from the defaults, JSON-ready, for the provenance."""
    record = {}
    for name, value in sorted(config.to_diff_dict().items()):
        if isinstance(value, str | int | float | bool | list) and not (
            name.startswith("_") or name == "transformers_version"
        ):
            record[name] = value
    return record


def ended(config: GenerationConfig, ids: Sequence[int]) -> bool:
    """Whether the response ended by itself, and not because it reached ``max_new_tokens``."""
    if config.max_new_tokens is None or len(ids) < config.max_new_tokens:
        return True
    return ids[-1] in stop_tokens(config)


def stop_tokens(config: GenerationConfig) -> list[int]:
    """Return the tokens that end a response."""
    stops = config.eos_token_id
    return [] if stops is None else list(stops) if isinstance(stops, list | tuple) else [stops]


def greedy_ids(adapter: ModelAdapter, encoded: Encoded, max_new_tokens: int) -> tuple[int, ...]:
    """Let the model respond greedily without capture, and leave it as it was.

    Decoding is that of ``Tracer.trace`` without sampling.

    Parameters
    ----------
    adapter, encoded:
        The model, and the request as it takes it.
    max_new_tokens:
        Longest response, in tokens.

    Returns
    -------
    tuple of int
        The ids of the response, with the one that ended it.
    """
    model = adapter.model
    config, _ = generation_config(model, {"max_new_tokens": max_new_tokens})
    stop_at_last_position(config, adapter, len(encoded.prompt_ids))
    device = input_device(model)
    inputs = {name: value.to(device) for name, value in encoded.inputs.items()}
    with undisturbed(model), torch.no_grad():
        ids = model.generate(**inputs, **encoded.generate_options, generation_config=config)
    return tuple(ids[0, len(encoded.prompt_ids) :].tolist())


def defers(config: GenerationConfig) -> bool:
    """Whether the cached keys of a step stay valid until later steps have been decoded."""
    return config.cache_implementation in (None, "dynamic")


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Seed torch inside the block and restore its random state after; nothing without a seed.

    Raises
    ------
    InputError
        If torch takes no such seed.
    """
    if seed is None:
        yield
        return
    check_whole("seed", seed, 0, 2**64 - 1)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
