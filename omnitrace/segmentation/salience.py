"""How much each generated token says: the weight ``w_pos`` of its word.

With an installed spaCy pipeline that tags parts of speech, its tags decide; without one, the
lexical attributes of ``spacy.blank``, which need no download. Words meet tokens by their character
offsets in the text that was really generated; nothing is tokenised again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from omnitrace.errors import InputError

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Token

__all__ = ["Salience"]

_OTHER: Final = 0.3
_FUNCTION: Final = 0.1
_POS_WEIGHTS: Final = {
    "NOUN": 1.0,
    "PROPN": 1.0,
    "NUM": 1.0,
    "VERB": 0.9,
    "ADJ": 0.8,
    "ADV": 0.5,
    **dict.fromkeys(("ADP", "AUX", "CCONJ", "CONJ", "DET", "PART", "PRON", "SCONJ"), _FUNCTION),
    "PUNCT": 0.0,
    "SPACE": 0.0,
}
# From the smallest pipeline to the largest: any tags well enough for weights.
_SIZES: Final = ("sm", "md", "lg", "trf")


class Salience:
    """Weighs tokens by their words; :meth:`create` picks the pipeline.

    Parameters
    ----------
    nlp:
        The spaCy pipeline.
    name:
        What the pipeline is, for the provenance of a trace.
    tagged:
        Whether ``nlp`` sets parts of speech.
    """

    def __init__(self, nlp: Language, *, name: str, tagged: bool) -> None:
        self._nlp = nlp
        self.name = name
        self._weigh = _weight_by_tag if tagged else _weight_by_lexeme

    @classmethod
    def create(cls, pipeline: str | None = "auto", language: str = "en") -> Salience:
        """Load a pipeline.

        Parameters
        ----------
        pipeline:
            The name of an installed spaCy pipeline; ``"auto"`` for the smallest installed one that
            tags ``language``, or else a blank one; None for a blank one; ``"blank:xx"`` for a blank
            one of that language, as in a trace's provenance.
        language:
            spaCy's language code.
        """
        import spacy

        if pipeline is None or pipeline.startswith("blank:"):
            return cls._blank(pipeline.removeprefix("blank:") if pipeline else language)
        installed = sorted(spacy.util.get_installed_models())
        if pipeline == "auto":
            candidates = [name for name in installed if name.startswith(f"{language}_")]
            for name in sorted(candidates, key=_size):
                nlp = _load(name)
                if _tags(nlp):
                    return cls(nlp, name=_provenance(nlp), tagged=True)
            return cls._blank(language)
        if pipeline not in installed:
            raise InputError(
                f"spaCy pipeline {pipeline!r} is not installed",
                legal=", ".join(["auto", f"blank:{language}", *installed])
                + ("" if installed else " (no pipeline is installed)"),
                fix=f"run `python -m spacy download {pipeline}`, or use 'auto'",
            )
        nlp = _load(pipeline)
        return cls(nlp, name=_provenance(nlp), tagged=_tags(nlp))

    @classmethod
    def _blank(cls, language: str) -> Salience:
        import spacy

        try:
            nlp = spacy.blank(language)
        except ImportError as error:
            raise InputError(
                f"spaCy knows no language {language!r}",
                legal="a language code of spaCy, such as 'en', 'de', 'zh'",
                fix="use 'xx' for any other language",
            ) from error
        return cls(nlp, name=f"blank:{language}", tagged=False)

    def weights(self, text: str, token_ranges: Sequence[tuple[int, int]]) -> np.ndarray:
        """Weigh tokens, given as character ranges of ``text``.

        A token has the weight of the word that overlaps it most (the first of several), and 0 if
        it is empty or white space. The result is float64 ``[tokens]`` in [0, 1].
        """
        out = np.zeros(len(token_ranges))
        if not any(start < end for start, end in token_ranges):
            return out
        words = [word for word in self._nlp(text) if not word.is_space]
        starts = [word.idx for word in words]
        ends = [word.idx + len(word) for word in words]
        weights = [self._weigh(word) for word in words]
        for t, (start, end) in enumerate(token_ranges):
            largest = 0
            first = bisect_right(ends, start)
            for word in range(first, len(words)):
                if starts[word] >= end:
                    break
                overlap = min(end, ends[word]) - max(start, starts[word])
                if overlap > largest:
                    largest, out[t] = overlap, weights[word]
        return out


def _weight_by_tag(word: Token) -> float:
    return _POS_WEIGHTS.get(word.pos_, _OTHER)


def _weight_by_lexeme(word: Token) -> float:
    """Weigh a number 1.0, punctuation 0, a stop word 0.1, another word 0.9, a symbol as "other".

    Number words come first, for spaCy counts some of them ("two", "six") as stop words too.
    """
    if word.like_num:
        return 1.0
    if word.is_punct or word.is_space:
        return 0.0
    if word.is_stop:
        return _FUNCTION
    return 0.9 if any(char.isalnum() for char in word.text) else _OTHER


def _size(name: str) -> tuple[int, str]:
    size = name.rsplit("_", 1)[-1]
    return _SIZES.index(size) if size in _SIZES else len(_SIZES), name


def _load(name: str) -> Language:
    import spacy

    return spacy.load(name, exclude=["ner", "parser", "lemmatizer", "senter"])


def _tags(nlp: Language) -> bool:
    return any(nlp.has_pipe(pipe) for pipe in ("tagger", "morphologizer"))


def _provenance(nlp: Language) -> str:
    return f"{nlp.meta['lang']}_{nlp.meta['name']}-{nlp.meta['version']}"
