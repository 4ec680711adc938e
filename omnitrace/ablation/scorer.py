"""Log-probabilities of a response under changed inputs: what perturbation methods measure with.

The model runs once over prompt and response, and what its decoder is fed is recorded: the input
embeddings, with every medium in its place, what deeper layers get beside them
(:mod:`omnitrace.models.side_inputs`), and the (multimodal) rotary positions. From then on the
*whole* model runs on embeddings of one's choice, so that the scaling and softcaps of its head
apply, and never again on media. That is sound only where nothing else reaches the decoder; with
what was recorded the log-probabilities must be those of the first run, or the model is refused. A
model is asked that once for each combination of modalities.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn

from omnitrace.ablation.contrast import TokenValues
from omnitrace.ablation.recording import record
from omnitrace.capture.attention_hooks import attention_layers
from omnitrace.capture.prompt_record import PromptRecord
from omnitrace.capture.quantised import check_backward
from omnitrace.errors import InputError, ModelError
from omnitrace.models.base import Encoded, ModelAdapter
from omnitrace.models.forward import (
    DecoderInputs,
    decoder_inputs,
    undisturbed,
)
from omnitrace.models.memory import MEMORY, row_bytes, rows_within
from omnitrace.types import Layout, Modality, SourceUnit, Span

if TYPE_CHECKING:
    from omnitrace.models.encoded_request import EncodedRequest
    from omnitrace.sources.messages import Conversation

__all__ = ["ResponseScorer", "Rewriting", "check_spans"]

# Largest difference, in nats, between the model on ids and on the embeddings of the same.
_TOLERANCE: Final = {torch.bfloat16: 0.1, torch.float16: 0.02}
# The kinds of requests on which a model was found to do nothing but what the embeddings show.
_checked: Final = WeakKeyDictionary[nn.Module, set[tuple[object, ...]]]()


def check_spans(spans: Sequence[Span], tokens: int) -> None:
    """Refuse spans that lie outside a response of so many tokens."""
    for span in spans:
        if not 0 <= span.token_start <= span.token_end <= tokens:
            raise InputError(
                f"a span of tokens {span.token_start} to {span.token_end}",
                legal=f"within 0 and {tokens}",
            )


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What is needed to change a request itself: the request, and a function that encodes one."""

    request: EncodedRequest
    encode: Callable[[Conversation], Encoded]


class ResponseScorer:
    """Teacher-forces one response under changed inputs.

    Parameters
    ----------
    adapter:
        The model.
    inputs:
        The model's inputs of the prompt and all tokens of the response but the last, batch 1, on
        the model's device; see :meth:`omnitrace.models.encoded_request.EncodedRequest.inputs_with`.
    layout:
        Units of the prompt.
    response:
        Token ids of the response, at least one.
    options:
        Other arguments of the forward pass that these inputs need.
    foils:
        For each token of the response the id of its foil, or None: values are then
        ``log p(token) - log p(foil)``, and 0 for None.
    memory:
        Bytes that one forward pass may take beside the weights. By this the rows that run at once
        are estimated.
    rewriting:
        The request that ``inputs`` come from, for operators that change the input itself.
    measured:
        Called with the keep-masks, bool ``[m, K]``, that are measured with this scorer. Masks that
        a span signal was fitted on must not evaluate it.
    keep:
        Whether keys and values of prompt and response are kept as long as the scorer is, if they
        take at most half the memory: a mask then runs only from the first ablated unit on.
    prompt:
        What was left of reading the prompt; keys and values are then kept, too.

    Attributes
    ----------
    adapter, model, memory, rewriting, measured, response, foils, source_units:
        As given; ``dtype`` is what the decoder is fed.
    full:
        float32 ``[T]``, on the CPU: the values of the response with every unit kept.
    reach, forwards:
        How far the layers look on these inputs; how many rows have run since.
    kept:
        The keys and values with every unit kept, or None.
    recurrent:
        Whether layers carry what they have read in a state, beside or without softmax attention.

    Raises
    ------
    ModelError
        If the model cannot be run on embeddings, or if more than what its decoder is fed for each
        token acts on the response.
    """

    def __init__(
        self,
        adapter: ModelAdapter,
        inputs: Mapping[str, torch.Tensor],
        layout: Layout,
        response: Sequence[int],
        *,
        options: Mapping[str, Any] | None = None,
        foils: Sequence[int | None] | None = None,
        memory: int = MEMORY,
        rewriting: Rewriting | None = None,
        measured: Callable[[np.ndarray], None] | None = None,
        keep: bool = False,
        prompt: PromptRecord | None = None,
    ) -> None:
        length = inputs["input_ids"].shape[1]
        if not response or length != layout.prompt_length + len(response) - 1:
            raise InputError(
                f"{length} input tokens for a prompt of {layout.prompt_length} tokens and a "
                f"response of {len(response)}",
                legal="the prompt and all tokens of the response but the last",
            )
        self.adapter = adapter
        self.model = adapter.model
        self.memory = memory
        self.rewriting = rewriting
        self.measured = measured
        self.response = tuple(response)
        self.foils = None if foils is None else tuple(foils)
        self._token_values = TokenValues(self.response, self.foils)
        self.forwards = 0
        self._recording, logits = record(
            adapter, inputs, options or {}, len(response), memory=memory, keep=keep, prompt=prompt
        )
        self.reach, self.recurrent = self._recording.reach, self._recording.recurrent
        self.kept = self._recording.kept
        self.dtype, self._embeddings = self._recording.fed.dtype, self._recording.fed.tokens
        device = self._embeddings.device
        self.source_units: tuple[SourceUnit, ...] = layout.units
        self._units = tuple(unit.id for unit in layout.units)
        self._modalities = tuple(unit.modality for unit in layout.units)
        self._unit_of = torch.full((length,), -1, dtype=torch.long, device=device)
        self._unit_of[: layout.prompt_length] = torch.from_numpy(
            layout.unit_index.astype("int64")
        ).to(device)
        # The first token is predicted from the prompt's last position, which is of a unit only
        # where no template follows the sources: it stays whatever is ablated.
        self._unit_of[layout.prompt_length - 1] = -1
        self._absent = self._without_units()
        plain = self.values(logits)
        self._check(plain)
        self.full: np.ndarray = plain[0].float().cpu().numpy()

    @property
    def units(self) -> tuple[str, ...]:
        """Ids of the source units, in the layout's order."""
        return self._units

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modality of each unit."""
        return self._modalities

    @property
    def unit_of(self) -> torch.Tensor:
        """int64 ``[N]``: the index of the unit that each position carries, or -1.

        The last position of the prompt, from which the response begins, is never ablated: -1.
        """
        return self._unit_of

    @property
    def embeddings(self) -> torch.Tensor:
        """float32 ``[1, N, d]``, detached: what the decoder is fed for prompt and response.

        A token's vector is its input embedding and, behind it, what deeper layers get beside it:
        of most models nothing. ``N`` is one less than the tokens of both: the last one is
        predicted, never read. A model in float64 keeps that.
        """
        return self._embeddings

    @property
    def layers(self) -> dict[int, nn.Module]:
        """The attention modules that attended, by the index of their layer."""
        every = attention_layers(self.adapter.decoder)
        return {index: module for index, module in every if module in self.reach.modules}

    @property
    def tokens(self) -> int:
        """``T``, the number of tokens of the response."""
        return len(self.response)

    @property
    def positions(self) -> torch.Tensor:
        """The rotary positions of the recorded pass: int64 ``[N]``, or ``[axes, N]``."""
        positions = self._recording.fed.positions
        if positions is None:  # the model counts them by itself
            return torch.arange(self._embeddings.shape[1], device=self._embeddings.device)
        return positions.to(self._embeddings.device)[..., 0, :]

    @property
    def extras(self) -> dict[str, torch.Tensor]:
        """Other inputs with one value a token, each ``[N]``."""
        return {
            name: value[0]
            for name, value in self._recording.per_token.items()
            if name != "attention_mask"
        }

    def rows(self, *, gradients: bool = False) -> int:
        """Estimate how many rows run at once within the memory; at least 1, at most 64."""
        _, length, _ = self._embeddings.shape
        needed = row_bytes(
            self.model, length, self.tokens, self.dtype.itemsize, gradients=gradients
        )
        return rows_within(self.memory, needed)

    def masked(self, keep: torch.Tensor) -> torch.Tensor:
        """Return the embeddings with only some units left.

        The positions of every other unit carry the mean embedding of all positions whose units have
        the same modality.

        Parameters
        ----------
        keep:
            bool ``[m, units]``.

        Returns
        -------
        torch.Tensor
            float32 ``[m, N, d]``.
        """
        keep = self.checked_keep(keep)
        # Positions without a unit have the index -1, the column added last.
        always = torch.ones((len(keep), 1), dtype=torch.bool, device=keep.device)
        kept = torch.cat([keep, always], dim=1)[:, self._unit_of]
        return torch.where(kept[:, :, None], self._embeddings, self._absent)

    def logprobs(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the log-probability of every token of the response, in nats.

        With foils, its difference to the foil's at the contrasted tokens and 0 elsewhere.

        Parameters
        ----------
        embeddings:
            ``[m, N, d]``. If it requires gradients, so does the result, and the graph of all rows
            is kept until it is used.

        Returns
        -------
        torch.Tensor
            float32 ``[m, T]``.
        """
        if embeddings.dim() != 3 or embeddings.shape[1:] != self._embeddings.shape[1:]:
            raise InputError(
                f"embeddings of shape {tuple(embeddings.shape)}",
                legal=f"[rows, {self._embeddings.shape[1]}, {self._embeddings.shape[2]}]",
            )
        gradients = torch.is_grad_enabled() and embeddings.requires_grad
        if gradients:
            check_backward(self.model)
        step = self.rows(gradients=gradients)
        parts = []
        with undisturbed(self.model), torch.set_grad_enabled(gradients):
            for start in range(0, len(embeddings), step):
                part = embeddings[start : start + step]
                self.forwards += len(part)
                parts.append(self.values(self._run(part)))
        if not parts:
            return torch.zeros((0, self.tokens), device=self._embeddings.device)
        return torch.cat(parts)

    def summed(self, values: torch.Tensor, spans: Sequence[Span]) -> torch.Tensor:
        """Sum values of tokens over the tokens of each span: ``[m, T]`` to ``[m, spans]``."""
        check_spans(spans, self.tokens)
        inside = torch.zeros((self.tokens, len(spans)), device=values.device)
        for column, span in enumerate(spans):
            inside[span.token_start : span.token_end, column] = 1.0
        return values @ inside

    def checked_keep(self, keep: torch.Tensor) -> torch.Tensor:
        """Return keep-masks on the model's device; raise InputError unless bool ``[m, units]``."""
        shape = tuple(keep.shape)
        if len(shape) != 2 or shape[1] != len(self._units) or keep.dtype != torch.bool:
            raise InputError(
                f"keep is {keep.dtype} of shape {shape}",
                legal=f"torch.bool of shape [rows, {len(self._units)} units]",
            )
        return keep.to(self._embeddings.device)

    def refed(
        self, inputs: Mapping[str, torch.Tensor], options: Mapping[str, Any]
    ) -> DecoderInputs:
        """Return what the decoder would be fed for other inputs, without running it."""
        with undisturbed(self.model):
            return decoder_inputs(self.adapter, inputs, options)

    def fed(self, tokens: torch.Tensor) -> contextlib.AbstractContextManager[dict[str, Any]]:
        """Feed the decoder ``tokens``, ``[rows, n, d]``, in the forward pass inside the block.

        The context yields arguments of the model's forward pass.
        """
        return self._recording.feeding(tokens)

    def _run(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the logits of the response's tokens, ``[rows, T, vocabulary]``."""
        return self._recording.run(embeddings)

    def values(self, logits: torch.Tensor) -> torch.Tensor:
        """Return ``[rows, T]`` as ``logprobs`` does, from logits ``[rows, T, vocabulary]``."""
        return self._token_values(logits).to(self._embeddings.device)

    def _without_units(self) -> torch.Tensor:
        """Return ``[1, N, d]``: each unit's positions at the mean embedding of its modality."""
        absent = self._embeddings.clone()
        for modality in set(self._modalities):
            of_modality = [i for i, each in enumerate(self._modalities) if each == modality]
            wanted = torch.tensor(of_modality, device=self._unit_of.device)
            positions = torch.isin(self._unit_of, wanted)
            if positions.any():
                absent[:, positions] = self._embeddings[:, positions].mean(dim=1, keepdim=True)
        return absent

    def _check(self, plain: torch.Tensor) -> None:
        kind = (self.dtype, frozenset(self._modalities), *self._recording.per_token)
        passed = _checked.setdefault(self.model, set())
        if kind in passed:
            return
        with undisturbed(self.model), torch.no_grad():
            again = self.values(self._run(self._embeddings))
            difference = float((again - plain).abs().max())
        if not difference <= _TOLERANCE.get(self.dtype, 1e-3):
            raise ModelError(
                f"{type(self.model).__name__} does more with this request than its decoder's "
                f"inputs show: run on them, log-probabilities differ by {difference:.2g}",
                legal="models whose decoder gets its input embeddings, and beside them at most "
                "deepstack_visual_embeds or per_layer_inputs",
                fix="use a token signal, such as 'value-attention'",
            )
        passed.add(kind)
