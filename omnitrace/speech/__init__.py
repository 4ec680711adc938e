"""Speech in audio and in videos: where it is, what was said, and by whom.

>>> from omnitrace.speech import Utterance
>>> Utterance(12.0, 14.6, "The invoice is late.", speaker="Anna").middle
13.3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitrace._utils.lazy import lazy_names

if TYPE_CHECKING:
    from omnitrace.speech.mend import mended
    from omnitrace.speech.pauses import Stretches, speech_between_pauses
    from omnitrace.speech.recognisers import Recogniser, make_recogniser
    from omnitrace.speech.transcripts import read_transcript
    from omnitrace.speech.utterances import Utterance, Word, joined_text, said_in, speakers_of
    from omnitrace.speech.voice import voice_probabilities
    from omnitrace.speech.words import sentences_of, snapped

__all__ = [
    "Recogniser",
    "Stretches",
    "Utterance",
    "Word",
    "joined_text",
    "make_recogniser",
    "mended",
    "read_transcript",
    "said_in",
    "sentences_of",
    "snapped",
    "speakers_of",
    "speech_between_pauses",
    "voice_probabilities",
]

# Only what is used is imported: the network needs torch, reading a transcript does not.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "omnitrace.speech.mend": ["mended"],
        "omnitrace.speech.pauses": ["Stretches", "speech_between_pauses"],
        "omnitrace.speech.recognisers": ["Recogniser", "make_recogniser"],
        "omnitrace.speech.transcripts": ["read_transcript"],
        "omnitrace.speech.utterances": [
            "Utterance",
            "Word",
            "joined_text",
            "said_in",
            "speakers_of",
        ],
        "omnitrace.speech.voice": ["voice_probabilities"],
        "omnitrace.speech.words": ["sentences_of", "snapped"],
    },
)
