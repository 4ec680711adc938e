"""Rollout: carry evidence through the model's own earlier words.

A model that thinks before it answers often looks at its thought, and no longer at the image that
the thought was about. Rollout follows the mass that a token puts on earlier generated tokens to
what those rested on::

    r_t = direct_t + sum over s < t of A(t -> s) * r_s

where ``direct_t`` is the token's row over the prompt, ``A(t -> s)`` its score on generated token s,
and ``r_s``, the evidence of s, is scaled to sum to 1, so that a row keeps its total. It is
attention rollout (Abnar and Zuidema 2020) over written tokens instead of layers.
"""

from __future__ import annotations

import numpy as np

__all__ = ["Rollout"]


class Rollout:
    """Applies rollout to rows, block by block, in the order of the generated tokens.

    Parameters
    ----------
    prompt_length:
        Number of prompt tokens.
    """

    def __init__(self, prompt_length: int) -> None:
        self._prompt = prompt_length
        # Shares of the evidence of each token so far; capacity doubles as tokens come.
        self._evidence = np.zeros((16, prompt_length))
        self._has_evidence = np.zeros(16, dtype=bool)
        self._count = 0

    @property
    def evidence(self) -> np.ndarray:
        """float64 ``[tokens, prompt]``: what each token so far rests on, summing to 1, or all 0."""
        return self._evidence[: self._count]

    def push(self, scores: np.ndarray) -> np.ndarray:
        """Carry the evidence of earlier tokens into the next rows.

        Parameters
        ----------
        scores:
            ``[tokens, prompt + generated]``, non-negative; zero from each token's own column on.

        Returns
        -------
        numpy.ndarray
            float64 of the same shape and the same row sums. Mass stays on a generated token only
            where that token has no evidence at all (its own row was zero).
        """
        result = np.array(scores, dtype=np.float64)
        for row in result:
            self._push_row(row)
        return result

    def _push_row(self, row: np.ndarray) -> None:
        prompt, count = self._prompt, self._count
        written = row[prompt : prompt + count]
        carried = np.where(self._has_evidence[:count], written, 0.0)
        row[:prompt] += carried @ self._evidence[:count]
        written -= carried
        total = row[:prompt].sum()
        if count == len(self._evidence):
            self._evidence = np.concatenate([self._evidence, np.zeros_like(self._evidence)])
            self._has_evidence = np.concatenate([self._has_evidence, np.zeros(count, dtype=bool)])
        if total > 0:
            self._evidence[count] = row[:prompt] / total
            self._has_evidence[count] = True
        self._count += 1
