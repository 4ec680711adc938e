"""Gradients of a token's score by the attention rows that predict it, while the model writes.

The row of layer l at position t - 1 reaches the token at t through position t - 1 alone, because no
later position exists yet. With the cached keys and values held constant, one single-token forward
with gradients and one backward therefore give the exact derivative; nothing is recomputed over the
prefix and nothing grows with it but the row itself.

``generate`` runs without gradients. Hooks switch them on for steps of one token, give ``generate``
detached logits, and keep the graph until the token is selected. Decoding stays as it was to the
last bit: every layer returns its own attention's output, and only the backward pass sees the
softmax behind it (:class:`CapturedAttention`). The first token's query belongs to the prefill, so
the last prompt token runs once more beside it, on the keys and values that the prefill left
(:class:`_Prompt`).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn
from transformers.cache_utils import Cache, DynamicLayer

from omnitrace.capture.backward import GradientTap, Head, StepState
from omnitrace.capture.cache_argument import cache_argument, given_cache
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.capture.parameters import frozen
from omnitrace.errors import NotSupportedError

__all__ = ["GradientCapture"]


class _Prompt(DynamicLayer):  # type: ignore[misc]
    """The prompt's keys and values, into which its last token may be run once more.

    They are the prefill's own tensors: a copy would double the memory of a long prompt.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self._all = keys, values
        self.keys, self.values = keys[:, :, :-1], values[:, :, :-1]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return all of the prompt; the last token's key and value are there already."""
        return self._all


def _in_this_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Let a hook of a module leave the calls of other threads alone."""
    thread = threading.get_ident()

    def called(*args: Any) -> Any:
        return hook(*args) if threading.get_ident() == thread else None

    return called


class GradientCapture:
    """Rows and their gradients for the tokens generated so far.

    Parameters
    ----------
    layers:
        Indices of the layers whose rows are needed, ascending.
    every:
        Indices of all decoder layers: gradients flow through every one of them.
    prompt_length:
        Number of prompt tokens.
    target:
        What is differentiated: the token's logit or its log-probability, before any processor.
    foils:
        For each generated token the id of its foil, or None where there is none:
        the score is then the difference of the two logits, which is that of the
        log-probabilities, and zero for None.
    values:
        Whether the norms of the value vectors are needed too.
    """

    forgets = True  # rows are finished with every step, so nothing is gained by waiting

    def __init__(
        self,
        layers: Sequence[int],
        every: Sequence[int],
        prompt_length: int,
        *,
        target: Literal["logit", "logprob"] = "logit",
        foils: Sequence[int | None] | None = None,
        values: bool = False,
    ) -> None:
        self.state = StepState(prompt_length)
        self.taps = [GradientTap(self.state, layer, values=values) for layer in every]
        self._wanted = [tap for tap in self.taps if tap.layer in set(layers)]
        self._target = target
        self._foils = foils
        self._logits: torch.Tensor | None = None
        self._selected = 0
        self._model: Any = None
        self._caches: list[Any] = []
        self._last_id: torch.Tensor | None = None
        self._position_ids: torch.Tensor | None = None
        self._attention_mask: torch.Tensor | None = None
        self._grad_mode = False

    @contextlib.contextmanager
    def attached(self, model: Any, decoder: nn.Module) -> Iterator[None]:
        """Capture ``model`` inside the block; parameters need no gradients there."""
        self._model = model
        here = _in_this_thread
        handles = [
            model.register_forward_pre_hook(here(self._before), with_kwargs=True),
            model.register_forward_hook(here(self._after), with_kwargs=True, always_call=True),
            model.get_input_embeddings().register_forward_hook(here(self._embedded)),
            decoder.register_forward_pre_hook(here(self._decoding), with_kwargs=True),
        ]
        head = model.get_output_embeddings()
        if self._target == "logprob" and type(head) is nn.Linear:
            handles.append(head.register_forward_hook(here(self._head)))
        try:
            with frozen(model):
                yield
        finally:
            for handle in handles:
                handle.remove()
            for cache in tuple(self._caches):
                self._unwatch(cache)
            self._model = self._logits = None

    def select(self, token_id: int) -> None:
        """Differentiate the score of the token that the model has just selected."""
        self.select_all([token_id])

    def select_all(self, ids: Sequence[int | None]) -> None:
        """Do so for the tokens of a batch; None stands for a sequence that has ended.

        No sequence depends on another, so one backward pass serves all of them.
        """
        if self._logits is None:
            self._first_step()
        logits, self._logits = self._logits, None
        assert logits is not None
        foil = self._foils[self._selected] if self._foils is not None else None
        self._selected += 1
        with torch.enable_grad():
            scores = logits.float()
            if self._target == "logprob" and self._foils is None:
                scores = torch.log_softmax(scores, dim=-1)
            rows = [row for row, token in enumerate(ids) if token is not None]
            tokens = [token for token in ids if token is not None]
            score = scores[rows, tokens].sum()
            if foil is not None:
                score = score - scores[rows, foil].sum()
            elif self._foils is not None:
                score = score * 0.0
        torch.autograd.backward(score)
        for tap in self.taps:
            tap.commit()

    def rows(
        self, steps: int, *, batch: int = 0, first: int = 0, pad: int = 0
    ) -> Iterator[LayerRows]:
        """Yield rows and gradients of ``steps`` pending steps; see :class:`BatchCapture`."""
        for tap in self._wanted:
            yield tap.read(steps, batch, first, pad)

    def take(self, steps: int) -> list[LayerRows]:
        """Hand over the first ``steps`` pending steps; see :meth:`Capture.take`."""
        taken = list(self.rows(steps))
        self.drop(steps)
        return taken

    def drop(self, steps: int) -> None:
        """Forget the first ``steps`` pending steps."""
        for tap in self.taps:
            for _ in range(steps):
                tap.steps.popleft()

    def _first_step(self) -> None:
        """Run the last prompt token again, with gradients, on what the prefill cached."""
        layers = []
        for tap in self.taps:
            if tap.prompt is None or tap.prompt[0].shape[2] < self.state.prompt_length:
                raise NotSupportedError(
                    f"the prefill left only a part of the prompt's keys in layer {tap.layer}",
                    legal="gradients with a prompt that is read in one piece",
                    fix="leave out prefill_chunk_size, or use a signal that needs rows only",
                )
            layers.append(_Prompt(*tap.prompt))
            tap.prompt = None
        cache = Cache(layers=layers)
        self.state.replaying_prompt = True
        try:
            self._model(
                input_ids=self._last_id,
                attention_mask=self._attention_mask,
                position_ids=self._position_ids,
                use_cache=True,
                return_dict=True,
                **{cache_argument(self._model): cache},
            )
        finally:
            self.state.replaying_prompt = False
            self._unwatch(cache)  # else all of the prompt's keys and values stay for good

    def _before(self, module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        ids = kwargs.get("input_ids")
        if ids is None and args:
            ids = args[0]
        if ids is None:
            raise NotSupportedError("gradients need the tokens that are fed to the model")
        if self.state.count.seen < self.state.prompt_length:
            self._last_id = ids[:, -1:]
            mask = kwargs.get("attention_mask")
            flat = isinstance(mask, torch.Tensor) and mask.dim() == 2
            self._attention_mask = mask if flat else None
            return
        cache = given_cache(kwargs)
        if ids.shape[1] != 1 or cache is None:
            raise NotSupportedError(
                "gradients need decoding with a cache, one token a step",
                fix="leave use_cache on, or use a signal that needs rows only",
            )
        self._watch(cache)
        self.state.capturing = True
        self._grad_mode = torch.is_grad_enabled()
        torch.set_grad_enabled(True)

    def _after(
        self, module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
    ) -> Any:
        if not self.state.capturing:
            return None
        if output is not None:  # it is None where the forward raised
            self._logits = output.logits[:, -1]
            output.logits = output.logits.detach()
        self.state.end()
        torch.set_grad_enabled(self._grad_mode)
        return output

    def _embedded(self, module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor | None:
        return output.detach().requires_grad_() if self.state.capturing else None

    def _head(self, module: nn.Linear, args: Any, output: torch.Tensor) -> torch.Tensor | None:
        if not self.state.capturing or module.weight.device != output.device:  # offloaded again
            return None
        return Head.apply(args[0], output, module.weight)  # type: ignore[no-any-return]

    def _decoding(self, module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if not self.state.capturing and kwargs.get("position_ids") is not None:
            self._position_ids = kwargs["position_ids"][..., -1:]

    def _watch(self, cache: Any) -> None:
        """See new keys and values before they are cached, and let the cache hold no graph."""
        if "update" in cache.__dict__:
            return
        update = cache.update
        capture = self

        def watched(
            key: torch.Tensor, value: torch.Tensor, layer: int, *args: Any, **kwargs: Any
        ) -> Any:
            if capture.state.capturing:
                capture.state.fresh[layer] = key, value
            return update(key.detach(), value.detach(), layer, *args, **kwargs)

        cache.update = watched
        self._caches.append(cache)

    def _unwatch(self, cache: Any) -> None:
        cache.__dict__.pop("update", None)
        self._caches = [each for each in self._caches if each is not cache]
