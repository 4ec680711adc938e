"""Files of traces that say what no trace says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from omnitrace.trace import io as trace_io


def write_folder(folder: Path, document: Any, tensors: bytes) -> Path:
    """Write a folder with right checksums, whatever the document says."""
    folder.mkdir(exist_ok=True)
    if isinstance(document, dict):
        document["checksums"] = {
            "document": trace_io._digest_of_document(document),
            "tensors": hashlib.sha256(tensors).hexdigest(),
        }
    (folder / "trace.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "scores.safetensors").write_bytes(tensors)
    return folder
