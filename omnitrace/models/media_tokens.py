"""Which tokens a model replaces by features of media, by what its configuration says.

The configuration is the authority: a processor's own list may hold markers too, or name the token
of the text before expansion.
"""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["marker_texts", "placeholder_ids"]

_KINDS: Final = ("image", "video", "audio")
_MARKER: Final = re.compile(
    r"^(image|video|audio|vision|boi|eoi|boa|eoa|slice|newline)\w*_(id|index)$"
)


def _configs(config: Any) -> list[Any]:
    """Return a configuration and those of its towers, where Phi-4 keeps these ids."""
    towers = (getattr(config, f"{kind}_config", None) for kind in ("vision", "audio"))
    return [config, *(each for each in towers if each is not None)]


def placeholder_ids(config: Any) -> dict[str, frozenset[int]]:
    """Return, by modality, the ids whose embeddings a forward pass replaces by features."""
    return {
        kind: frozenset(
            value
            for each in _configs(config)
            for name in (f"{kind}_token_id", f"{kind}_token_index")
            if isinstance(value := getattr(each, name, None), int) and value >= 0
        )
        for kind in _KINDS
    }


def marker_texts(config: Any, processor: Any) -> list[str]:
    """Return the texts of placeholders and of markers around media, which no text may hold."""
    ids = {
        value
        for each in _configs(config)
        for name, value in vars(each).items()
        if _MARKER.match(name) and isinstance(value, int) and value >= 0
    }
    texts = [processor.tokenizer.convert_ids_to_tokens(each) for each in sorted(ids)]
    texts += list(getattr(processor, "all_special_multimodal_tokens", None) or ())
    texts += [
        getattr(processor, name)
        for name in sorted(vars(processor))
        if re.match(r"^(image|video|audio|vision)\w*_token$", name)
    ]
    return [each for each in dict.fromkeys(texts) if isinstance(each, str) and len(each) > 1]
