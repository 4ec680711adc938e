"""The plugin is tested from its source folder; nothing needs to be installed."""

from __future__ import annotations

import sys
from pathlib import Path

_SOURCE = Path(__file__).parents[2] / "plugins" / "omnitrace-captum"
sys.path.insert(0, str(_SOURCE))
