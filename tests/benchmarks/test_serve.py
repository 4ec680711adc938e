"""The benchmark of the server: what it times, on the reference model."""

from __future__ import annotations

import serve


def test_defaults_depend_on_quick() -> None:
    assert (serve.parse([]).alternations, serve.parse([]).new_tokens) == (serve.ALTERNATIONS, 128)
    assert (serve.parse(["--quick"]).alternations, serve.parse(["--quick"]).new_tokens) == (3, 32)


def test_both_ways_write_the_same(capsys: object) -> None:
    given = serve.parse(
        ["--models", "reference", "--alternations", "1", "--new-tokens", "8", "--quick"]
    )
    runs = serve.compare("reference", given)
    (streamed,), (served,) = runs["stream"], runs["serve"]
    assert streamed.text == served.text
    assert min(streamed.decode, served.decode) > 0
    assert served.events > 8
