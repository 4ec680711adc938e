"""Hostile requests: each is refused with a clear error, and nothing else is lost."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from omnitrace import Tracer
from omnitrace.media import MediaLimits
from omnitrace.serve import ServeOptions
from omnitrace.serve.uploads import UploadStore
from tests.helpers.media_files import *  # noqa: F403
from tests.serve.client import ASKED, OTHER_KEY, ask, events_of, serving
