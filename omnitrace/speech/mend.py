"""Mend a transcript: utterances in order, apart from each other, within the recording."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from omnitrace._utils.counted import counted
from omnitrace.speech.utterances import Utterance, joined_text, speakers_of

__all__ = ["mended"]


def mended(cues: Iterable[Utterance], duration: float) -> tuple[list[Utterance], list[str]]:
    """Return utterances that part time, and what had to be done for it.

    Parameters
    ----------
    cues:
        As a transcript has them: in any order, overlapping, of any length.
    duration:
        Seconds of the recording.

    Returns
    -------
    utterances:
        Ascending and apart from each other, each longer than 0 s, within ``[0, duration]``.
    notes:
        One phrase for each kind of mend, with how often.

        - Without words, or wholly before or after the recording: skipped.
        - Beginning before the recording or ending after it: cut.
        - No length, or an end before the start: the words join the nearest utterance.
        - The same words at the same time again: skipped.
        - Within another: joined with it.
        - Overlapping another: both end and begin in the middle of what they share.
    """
    done: Counter[str] = Counter()
    within, moments = _within(cues, duration, done)
    apart = _apart(sorted(within, key=lambda each: (each.start, -each.end)), done)
    for each in moments if apart else ():
        at = min(range(len(apart)), key=lambda i: _distance(apart[i], each.start))
        pair = sorted((apart[at], each), key=lambda one: one.start)
        apart[at] = _joined(apart[at], pair)
        done["without length joined with the nearest"] += 1
    if moments and not apart:
        done["without length skipped"] += len(moments)
    return apart, [f"{counted(count, 'cue')} {what}" for what, count in done.items()]


def _within(
    cues: Iterable[Utterance], duration: float, done: Counter[str]
) -> tuple[list[Utterance], list[Utterance]]:
    """Return the cues that lie in the recording, and those that have no length."""
    within, moments, seen = [], [], set()
    for cue in cues:
        text = " ".join(cue.text.split())
        if not math.isfinite(cue.start) or math.isnan(cue.end) or cue.end == -math.inf:
            done["without finite seconds skipped"] += 1
        elif not text:
            done["without words skipped"] += 1
        elif cue.start >= duration or cue.end < 0 or (cue.end == 0 and cue.start < 0):
            done["outside the recording skipped"] += 1
        elif (cue.start, cue.end, text) in seen:
            done["repeated skipped"] += 1
        elif cue.end <= cue.start:
            moments.append(Utterance(max(0.0, cue.start), max(0.0, cue.start), text, cue.speaker))
        else:
            seen.add((cue.start, cue.end, text))
            start, end = max(0.0, cue.start), min(duration, cue.end)
            # An end that a recogniser leaves open is the recording's.
            if cue.start < 0 or duration < cue.end < math.inf:
                done["reaching over an end of the recording cut"] += 1
            within.append(Utterance(start, end, text, cue.speaker))
    return within, moments


def _apart(cues: Sequence[Utterance], done: Counter[str]) -> list[Utterance]:
    apart: list[Utterance] = []
    for cue in cues:
        last = apart[-1] if apart else None
        if last is None or cue.start >= last.end:
            apart.append(cue)
        elif cue.end <= last.end:
            done["within another joined with it"] += 1
            at = len(apart) - 1
            while at and apart[at].start > cue.middle:
                at -= 1
            apart[at] = _joined(apart[at], (apart[at], cue))
        else:
            done["overlapping another parted in the middle"] += 1
            middle = (cue.start + last.end) / 2
            apart[-1] = Utterance(last.start, middle, last.text, last.speaker)
            apart.append(Utterance(middle, cue.end, cue.text, cue.speaker))
    return apart


def _joined(span: Utterance, said: Sequence[Utterance]) -> Utterance:
    return Utterance(span.start, span.end, joined_text(said), speakers_of(said))


def _distance(utterance: Utterance, at: float) -> float:
    return max(utterance.start - at, at - utterance.end, 0.0)
