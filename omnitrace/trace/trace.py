"""The result of tracing one request."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from omnitrace.attribution.effects import checked_effects
from omnitrace.attribution.masses import Masses, token_traces, unit_masses
from omnitrace.attribution.rollout import Rollout
from omnitrace.attribution.selection import SelectionConfig
from omnitrace.attribution.spans import SpanBuilder
from omnitrace.errors import InputError, did_you_mean
from omnitrace.trace import api_shapes, io, markdown
from omnitrace.trace.citations import Document, SpanCitations, citations_of, documents_of
from omnitrace.trace.record import TraceRecord
from omnitrace.trace.request_record import RequestRecord
from omnitrace.types import Effect, Message, Section, Span, SpanEffects

__all__ = ["Trace"]


class Trace(TraceRecord):
    """One response, and for each of its tokens and spans where it came from.

    Attributes
    ----------
    messages:
        The request. Media are replaced by ``{"type": ..., "media": i}``, an index into ``media``.
    text:
        The response, as decoded from the generated ids.
    token_ids, prompt_ids:
        Generated and prompt token ids, as the model saw them.
    layout:
        The map from prompt positions to source units.
    scores:
        float32 ``[generated tokens, prompt + generated tokens]``: the signal's raw scores. Row t is
        what predicted token t and is zero from column ``len(prompt_ids) + t`` on.
    tokens, spans:
        Token traces and the spans with their supports.
    salience:
        float64 ``[generated tokens]`` in [0, 1]: the weight of the word that a token belongs to.
    media:
        What is remembered of each medium, in prompt order.
    config:
        The selection that chose the supports.
    provenance:
        Model, signal, versions, seed, timings.
    """

    def masses(self) -> Masses:
        """Sum the scores over units, instruction, template and generated positions.

        With ``config.rollout`` evidence is first carried through earlier tokens.
        """
        scores = self.scores
        if self.config.rollout:
            scores = Rollout(self.layout.prompt_length).push(scores)
        return unit_masses(scores, self.layout, self.config.assign)

    def unit_scores(self) -> np.ndarray:
        """Return float64 ``[generated tokens, units]``: each unit's summed score for each token."""
        return self.masses().units

    def _builder(self, masses: Masses) -> SpanBuilder:
        return SpanBuilder(
            layout=self.layout,
            masses=masses,
            salience=self.salience,
            token_ranges=tuple((token.start, token.end) for token in self.tokens),
            config=self.config,
        )

    def reselect(self, config: SelectionConfig, *, section: Section | None = None) -> Trace:
        """Select supports again under ``config``, from what is stored, without the model.

        A span with effects gets its supports by them, any other span by the scores.

        Parameters
        ----------
        config:
            How supports are chosen.
        section:
            Keep the spans of this section only, such as those of the answer; text and tokens stay.

        Raises
        ------
        InputError
            If there is no such section.
        """
        changed = dataclasses.replace(self, config=config)
        masses = changed.masses()
        tokens = token_traces(
            masses,
            self.layout,
            self.token_ids,
            [token.text for token in self.tokens],
            [(token.start, token.end) for token in self.tokens],
        )
        changed = dataclasses.replace(changed, tokens=tokens)
        builder = changed._builder(masses)
        spans = tuple(
            builder.build(span.index, self.text, span.start, span.end, span.measured, span.section)
            for span in (self.spans if section is None else self.spans_of(section))
        )
        return dataclasses.replace(changed, spans=spans)

    #: An earlier name of :meth:`reselect`, for code that uses it.
    recurate = reselect

    def with_effects(self, effects: Sequence[Mapping[str, Effect]]) -> Trace:
        """Choose supports by the effects of units on spans, as a span signal gives them.

        Parameters
        ----------
        effects:
            One map a span, from unit id to effect; see :mod:`omnitrace.attribution.effects`.

        Raises
        ------
        InputError
            If there is not one map a span, a unit is unknown, or a number is not finite.
        """
        try:
            checked = checked_effects(effects, len(self.spans), [unit.id for unit in self.units])
        except ValueError as error:
            raise InputError(
                f"the effects are {error}", legal="one dict a span, from unit ids to finite Effects"
            ) from error
        spans = tuple(
            dataclasses.replace(
                span,
                effects=dict(found),
                sources_effect=found.total if isinstance(found, SpanEffects) else None,
            )
            for span, found in zip(self.spans, checked, strict=True)
        )
        return dataclasses.replace(self, spans=spans).reselect(self.config)

    def explain(self, phrase: str, *, occurrence: int = 0) -> Span:
        """Return the supports of any substring of the response, as a span of its own.

        The tokens vote, also where a span signal chose the supports of the trace: its effects are
        of whole spans.

        Parameters
        ----------
        phrase:
            A substring of ``text``.
        occurrence:
            Which occurrence to explain, counted from 0.

        Raises
        ------
        InputError
            If the phrase is empty or does not occur that often.
        """
        if not phrase.strip():
            raise InputError(f"the phrase {phrase!r} is empty", legal="a substring of the response")
        start = -1
        for _ in range(occurrence + 1):
            start = self.text.find(phrase, start + 1)
            if start < 0:
                raise self._no_such_phrase(phrase, occurrence)
        begun = [span for span in self.spans if span.start <= start]
        section: Section = begun[-1].section if begun else "answer"
        builder = self._builder(self.masses())
        return builder.build(-1, self.text, start, start + len(phrase), section=section)

    def _no_such_phrase(self, phrase: str, occurrence: int) -> InputError:
        count = self.text.count(phrase)
        if count:
            return InputError(
                f"the phrase {phrase!r} occurs {count} times; there is no occurrence {occurrence}",
                legal=f"occurrence 0 to {count - 1}",
            )
        words = self.text.split()
        width = max(1, len(phrase.split()))
        windows = [" ".join(words[i : i + width]) for i in range(len(words) - width + 1)]
        return InputError(
            f"the response does not contain {phrase!r}",
            legal="a substring of trace.text, letter for letter",
            fix=did_you_mean(phrase, windows),
        )

    def request(self) -> list[Message]:
        """Return the messages as they were asked, with their media read again.

        Raises
        ------
        InputError
            If the trace only names a medium, as one that was saved without its media does.
        """
        messages: list[Message] = []
        for message in self.messages:
            parts = message["content"]
            if isinstance(parts, str):
                parts = [{"type": "text", "text": parts}]
            messages.append({**message, "content": [self._read(part) for part in parts]})
        return messages

    def _read(self, part: Mapping[str, Any]) -> dict[str, Any]:
        if "media" not in part:
            return dict(part)
        record = self.media[part["media"]]
        if record.read is None:
            raise InputError(
                f"the {record.modality} {record.name!r} is not in the trace",
                legal="a trace that was just made, or one that was saved with its media",
                fix="trace with --media or save with media=True; or, where messages= is taken, "
                "pass the request",
            )
        rest = {name: value for name, value in part.items() if name != "media"}
        return {**rest, record.modality: record.read()}

    def redact(self) -> Trace:
        """Return a copy without texts, names, previews and media; the structure stays.

        Message texts, unit previews, source ids, the response and token texts become empty or are
        masked by ``█`` of the same length, so that all ranges stay valid; digests, positions,
        scores and supports are kept. Token ids are replaced by -1, since they spell the text.
        """
        return io.redacted(self)

    def save(
        self,
        path: str | Path,
        *,
        media: bool = False,
        metadata: bool = False,
        request: RequestRecord | None = None,
    ) -> Path:
        """Write the trace to ``path``: a folder, or a zip if it ends in ``.omnitrace``.

        ``media=True`` also stores the original media bytes; otherwise only their digests and
        small previews are stored. What a camera or an editor wrote into images, MP4 and QuickTime
        files (EXIF, places, dates, names) is left out of them, unless ``metadata=True``.
        ``request`` says which request of a run this trace answers.
        """
        return io.save(self, Path(path), media=media, metadata=metadata, request=request)

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read a trace written by :meth:`save`.

        Raises
        ------
        TraceFileError
            If the file is missing, corrupt, foreign or of a newer version.
        """
        return io.load(Path(path), cls)

    def citations(self, *, section: Section | None = None) -> tuple[SpanCitations, ...]:
        """Return for each span the sources that it cites, as units and by document.

        A span that no source supports cites nothing, nor does one that is against the sources.

        Parameters
        ----------
        section:
            The thoughts or the answer only; None for both.

        Raises
        ------
        InputError
            If there is no such section.
        """
        return citations_of(self, section)

    def documents(self) -> tuple[Document, ...]:
        """Return the documents of the request: parts that share a ``source_id``, or one part."""
        return documents_of(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the trace without its score matrix as JSON-ready values.

        It holds what ``trace.json`` of a file does, and in each unit and support also ``quote``,
        the text of the unit, and ``document``, the id of its :meth:`documents`.
        """
        return io.to_document(self)

    def to_openai(self) -> dict[str, Any]:
        """Return the answer as an output message of OpenAI's Responses API.

        Each document that a span cites is an annotation: a ``url_citation`` where its ``source_id``
        is an address of the web, else a ``file_citation``.
        """
        return api_shapes.to_openai(self)

    def to_anthropic(self) -> dict[str, Any]:
        """Return the response as a message of Anthropic's Messages API.

        Each span is a text block with the texts that it cites, as ``char_location``.
        """
        return api_shapes.to_anthropic(self)

    def to_cohere(self, version: api_shapes.CohereVersion = 2) -> dict[str, Any]:
        """Return the response of Cohere's chat API.

        Parameters
        ----------
        version:
            2, whose citations have ``sources``, or 1, whose citations have ``document_ids``.

        Raises
        ------
        InputError
            If there is no such version.
        """
        return api_shapes.to_cohere(self, version)

    def to_markdown(self, *, section: Section | None = "answer") -> str:
        """Return the response as Markdown with ``[n]`` markers, and below it what they cite.

        The response is kept as it is, since it may be Markdown; names and quotes of sources are
        escaped.

        Parameters
        ----------
        section:
            The answer or the thoughts only; None for both.

        Raises
        ------
        InputError
            If there is no such section.
        """
        return markdown.to_markdown(self, section)

    def to_html(self, path: str | Path, *, media: bool = False) -> Path:
        """Write one self-contained HTML file that shows the response on its sources.

        ``media=True`` puts the original audio and video files into the page, so that they can be
        played; otherwise it shows waveforms and a few frames.
        """
        from omnitrace.report.html import write_report

        return write_report([self], Path(path), media=media)

    def _repr_html_(self) -> str:
        """Show the report in a notebook, in a frame that can reach nothing outside of it."""
        from omnitrace.report.html import notebook_html

        return notebook_html(self)
