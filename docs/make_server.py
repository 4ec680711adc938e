"""Make ``docs/reference/server.md``: endpoints, schemas, errors and options of the server.

Run from anywhere, after a change of the schemas::

    python docs/make_server.py
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from omnitrace.serve.api import schema
from omnitrace.serve.openai import attribution, requests
from omnitrace.serve.openai.errors import KINDS
from omnitrace.serve.options import ServeOptions

PAGE: Final = Path(__file__).parent / "reference" / "server.md"

HEAD: Final = """# The server

Made by `docs/make_server.py` from the server's own schemas. [Serve a model](../how-to/serve.md)
says how to start it and what to do with it.

## Endpoints

All but `/`, `/static/…` and `/healthz` need `Authorization: Bearer TOKEN` where the server has a
token.

| endpoint | what it does |
|---|---|
| `POST /v1/chat/completions` | a chat completion in OpenAI's format, streamed or whole |
| `POST /v1/attributions` | what supports a response that exists already |
| `GET /v1/models`, `GET /v1/models/{model}` | the model that is served |
| `GET /healthz` | 200 `{"status": "ok"}`; 503 while the server ends |
| `GET /metrics` | for Prometheus |
| `GET /`, `GET /static/…` | the page and its modules |
| `/api/…` | what the page uses; it may change with the page |

## Requests

A parameter that is not in these tables is refused by its name, as is a value of another type. A
parameter whose value is `null` counts as left out. Decoding is greedy unless `temperature` above 0,
`top_p`, `top_k` or `min_p` is given, whatever the checkpoint's own settings are; without
`max_completion_tokens` a response may be as long as the server allows.

"""

REFUSED: Final = """### Refused parameters

These are accepted only with a value that asks for nothing, or `null`.

| parameter | accepted | instead |
|---|---|---|
"""

RESPONSES: Final = """## Responses

A completion, and each chunk of a stream, is one of OpenAI's, with one more field. Thoughts of a
thinking model are `reasoning` and, the same, `reasoning_content` of the message or delta; the
content is the answer alone. `annotations` of the message hold a `url_citation` for each document
that the answer cites and whose `source_id` is an address of the web: chat completions have no other
kind. In a stream they come with the last chunk. Tools are given to the chat template; a call that
the model writes is text.

The headers `x-omnitrace-position` and `x-omnitrace-wait` say how many requests were before this one
and in about how many seconds it was to begin. A stream whose request waits longer than
15 seconds sends its headers then, and comments (`: position 3, about 4.2 s`) until its first chunk.

### The `attribution` of a completion

The last chunk of a stream has it too; deltas come before it. `POST /v1/attributions` answers with
`id`, `object` ("response.attribution"), `created`, `model`, `content`, `reasoning` (and
`reasoning_content`), `usage` and `attribution`.

Ranges are half-open and count Unicode code points; those of a span are in the content (section
"answer") or in the reasoning (section "thought"). Fields without a value are left out. `version` is
raised where a field is removed or changes its meaning; fields may be added.

"""

ERRORS: Final = """## Errors

`{"error": {"message", "type", "param", "code"}}`. An error after the first chunk comes as a chunk
of this form.

| status | `type` | `code`, where there is no other | what `openai` raises |
|---|---|---|---|
"""

CODES: Final = """
Other codes: `unknown_parameter`, `missing_required_parameter`, `invalid_type`, `invalid_value`,
`unsupported_parameter`, `unsupported_value`, `invalid_json`, `invalid_base64`, `invalid_media`,
`unsupported_file`, `url_not_allowed`, `context_length_exceeded`, `model_not_found`, `unknown_name`.
429 and 503 say in `Retry-After` when to come again. A 500 says `x-should-retry: false`: the same
request would fail again.

## Metrics

| metric | what |
|---|---|
| `omnitrace_running`, `omnitrace_waiting` | jobs that have the model, and that wait for it |
| `omnitrace_expected_wait_seconds` | how long a request would wait that came now |
| `omnitrace_jobs_total{state}` | jobs that the model has had |
| `omnitrace_http_responses_total{endpoint,status}` | responses of `/v1/…` |
| `omnitrace_tokens_total{kind}` | tokens "read" and "written" |
| `omnitrace_queue_seconds` | histogram: how long jobs waited |
| `omnitrace_first_token_seconds` | histogram: from the request to its first token |
| `omnitrace_model_seconds` | histogram: how long jobs had the model |
| `omnitrace_kept_memory_bytes`, `omnitrace_kept_disk_bytes` | traces that are kept for the page |
| `process_…` | memory and time of the process |

## Options

Those of `omnitrace.serve.ServeOptions`; `omnitrace serve --help` lists the command's.

| option | default | what |
|---|---|---|
"""

_PARTS: Final = (
    *("TextPart", "ImagePart", "ImageUrl", "AudioPart", "InputAudio", "AudioUrlPart", "VideoPart"),
    *("MediaUrl", "FilePart", "FileData", "RefusalPart"),
)
_CLIENT: Final = {
    400: "`BadRequestError`",
    401: "`AuthenticationError`",
    403: "`PermissionDeniedError`",
    404: "`NotFoundError`",
    429: "`RateLimitError`",
}


def page() -> str:
    """Return the page."""
    text = HEAD
    text += _section("### `POST /v1/chat/completions`", requests.ChatRequest)
    text += REFUSED + "".join(_refused()) + "\n"
    text += _section("### `stream_options`", requests.StreamOptions)
    text += _section("### `attribution` of a request", requests.AttributionOptions)
    text += _section("#### SourcesIn", schema.SourcesIn)
    text += _section("### `POST /v1/attributions`", requests.AttributionRequest)
    text += _section("### Messages", requests.ChatMessage)
    text += "### Parts\n\n"
    for name in _PARTS:
        text += _section(f"#### {name}", getattr(requests, name))
    text += RESPONSES
    text += _section("", attribution.Attribution)
    for name in ("Source", "AttributedSpan", "SpanSupport", "AttributionDelta"):
        text += _section(f"#### {name}", getattr(attribution, name))
    return text + ERRORS + "".join(_statuses()) + CODES + "".join(_options())


def _section(title: str, model: type[BaseModel]) -> str:
    document = model.model_json_schema()
    said = " ".join(inspect.cleandoc(model.__doc__ or "").replace("``", "`").split())
    rows = "".join(
        f"| `{name}` | {_type(field)} | {field.get('description', '')} |\n"
        for name, field in document["properties"].items()
    )
    heading = f"{title}\n\n" if title else ""
    return f"{heading}{said}\n\n| field | type | |\n|---|---|---|\n{rows}\n"


def _type(field: Mapping[str, Any]) -> str:
    """Write a type of JSON in words."""
    if "const" in field:
        return f'"{field["const"]}"' if isinstance(field["const"], str) else str(field["const"])
    if "enum" in field:
        return ", ".join(f'"{each}"' for each in field["enum"])
    if "$ref" in field:
        return f"`{field['$ref'].rpartition('/')[2]}`"
    for several in ("anyOf", "oneOf"):
        if several in field:
            names = [_type(each) for each in field[several] if each.get("type") != "null"]
            return " or ".join(names)
    if field.get("type") == "array":
        items = field.get("items") or field.get("prefixItems", [{}])[0]
        return f"list of {_type(items)}" if items else "list"
    return str(field.get("type", "any"))


def _refused() -> Iterator[str]:
    for name, (values, fix) in requests.REFUSED.items():
        shown = ", ".join(f"`{value!r}`" for value in values).replace("'", '"')
        yield f"| `{name}` | {shown.replace('False', 'false')} | {fix} |\n"


def _statuses() -> Iterator[str]:
    for status, (kind, code) in KINDS.items():
        raised = _CLIENT.get(
            status, "`InternalServerError`" if status >= 500 else "`APIStatusError`"
        )
        yield f"| {status} | `{kind}` | {f'`{code}`' if code else ''} | {raised} |\n"


def _options() -> Iterator[str]:
    said = _said_of_options()
    for field in dataclasses.fields(ServeOptions):
        default: Any = field.default
        if default is dataclasses.MISSING:
            default = "MediaLimits(…)"
        yield f"| `{field.name}` | `{default}` | {said[field.name]} |\n"


def _said_of_options() -> dict[str, str]:
    """Return what the docstring says of each option."""
    parts = re.split(r"^(\w+):$", inspect.cleandoc(ServeOptions.__doc__ or ""), flags=re.MULTILINE)
    names, texts = parts[1::2], parts[2::2]
    return {
        name: " ".join(text.replace("``", "`").split()).partition(". ")[0].rstrip(".")
        for name, text in zip(names, texts, strict=True)
    }


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")


if __name__ == "__main__":
    main()
