"""Options of the command line with values that mean nothing, or far too much."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.fuzz.case import Case, Expected, Source
from tests.fuzz.good import Good
from tests.fuzz.media_files import file_of
from tests.fuzz.special_files import SPECIAL_PATHS

__all__ = ["SOURCE"]

_ASK: Final = ("trace", "--text", "The lamp weighs four grams.", "--ask", "What does it weigh?")
_SHORT: Final = ("--max-new-tokens", "2", "--signal", "attention-mean")
_SAMPLE: Final = ("--sample", "--seed", "1", "--max-new-tokens", "3")
_HUGE: Final = "9" * 30
_LONG: Final = "x" * 100_000

#: What is added to a good request, and what is right.
_TRACE: Final[tuple[tuple[Sequence[str], Expected], ...]] = (
    (("--sample", "--seed", _HUGE), "refused"),
    (("--sample", "--seed", str(2**64)), "refused"),
    (("--sample", "--seed", str(2**63), *_SHORT), "either"),
    (("--sample", "--seed", "-1"), "refused"),
    (("--seed", "1"), "refused"),
    (("--sample", "--temperature", "nan"), "refused"),
    (("--sample", "--temperature", "inf"), "refused"),
    (("--sample", "--temperature", "0"), "refused"),
    (("--sample", "--temperature", "-1"), "refused"),
    ((*_SAMPLE, "--temperature", "1e-320"), "refused"),
    ((*_SAMPLE, "--temperature", "1e-45"), "either"),
    ((*_SAMPLE, "--temperature", "1e300"), "either"),
    (("--temperature", "1"), "refused"),
    (("--max-new-tokens", "0"), "refused"),
    (("--max-new-tokens", _HUGE), "either"),
    (("--max-new-tokens", "1000000000"), "either"),
    (("--max-new-tokens", "x"), "refused"),
    (("--device", "bogus"), "refused"),
    (("--device", "meta"), "refused"),
    (("--device", "meta:0"), "refused"),
    (("--device", ""), "refused"),
    (("--device", "cpu:9", *_SHORT), "either"),
    (("--device", "cuda:99"), "refused"),
    (("--device", "mkldnn"), "refused"),
    (("--device", "vulkan"), "refused"),
    (("--device", "x" * 5000), "refused"),
    (("--signal", "zzz"), "refused"),
    (("--signal", ""), "refused"),
    (("--signal", "\udcff"), "refused"),
    (("--signal", _LONG), "refused"),
    (("--signal", "estimator"), "either"),
    (("--language", "\udcff"), "refused"),
    (("--language", "zz", *_SHORT), "either"),
    (("--language", ""), "refused"),
    (("--language", _LONG), "refused"),
    (("--language", "../../x"), "refused"),
    (("--language", "en\x00"), "refused"),
    (("--text-units", "zzz"), "refused"),
    (("--text-units", "\udcff"), "refused"),
    (("--video-fps", "0"), "refused"),
    (("--video-fps", "nan"), "refused"),
    (("--video-fps", "inf"), "refused"),
    (("--video-fps", "1e308", *_SHORT), "either"),
    (("--source", "9"), "refused"),
    (("--source", _HUGE), "refused"),
    (("--source", f"0.{_HUGE}"), "refused"),
    (("--source", "9" * 5000), "refused"),
    (("--source", "²"), "refused"),
    (("--source", "-1"), "refused"),
    (("--source", "\udcff"), "refused"),
    (("--thinking", "", ""), "refused"),
    (("--thinking", "a", "a", *_SHORT), "either"),
    (("--thinking", "(((", "[[[", *_SHORT), "either"),
    (("--thinking", "\udcff", "\udcff"), "refused"),
    (("--thinking", _LONG, _LONG, *_SHORT), "either"),
    (("--text", "\udcff"), "refused"),
    (("--ask", "\udcff"), "refused"),
    (("--ask", ""), "refused"),
    (("--text", "@"), "refused"),
    (("--text", ""), "refused"),
    (("--html",), "refused"),
    (("--media",), "refused"),
    (("--model", "\udcff"), "refused"),
    (("--model", "no/such"), "refused"),
    (("--model", "http://127.0.0.1:9/x"), "refused"),
    (("--model", "g.gguf"), "refused"),
    (("--model", _LONG), "refused"),
    (("--estimator", "x", "--signal", "grad-sam"), "refused"),
    (("--heads", "x", "--signal", "grad-sam"), "refused"),
    (("--calibration", "x", "--signal", "grad-sam"), "refused"),
    (("--zzz",), "refused"),
    (("--" + _LONG,), "refused"),
)  # fmt: skip
#: Of unitizers: after a colon, for each of the three options.
_PARAMETERS: Final[tuple[tuple[str, str, str], ...]] = (
    ("image", "ward", "regions"),
    ("image", "ward", "explained"),
    ("image", "slic", "regions"),
    ("image", "slic", "compactness"),
    ("image", "grid", "rows"),
    ("image", "grid", "columns"),
    ("audio", "bins", "seconds"),
    ("audio", "changes", "seconds"),
    ("audio", "changes", "explained"),
    ("video", "bins", "seconds"),
    ("video", "changes", "pieces"),
)
_VALUES: Final = (
    *("x", "NaN", "Infinity", "-Infinity", "0", "-1", "true", "null", "[]", "{}", '""', "", "[1]"),
    *(
        _HUGE,
        "1" + "0" * 400,
        "9" * 5000,
        "1e400",
        "1e308",
        "1e-300",
        "5e-324",
        "0.5",
        "1.5",
        "1e5",
    ),
    *("1,zzz=2", "2,{key}=3", "[" * 100_000, "\udcff", "1000000", "2147483648", "\ud800"),
)
_SPELLINGS: Final = (
    "",
    ":",
    "zzz",
    "ward:",
    "ward:=",
    "ward:regions",
    ":regions=1",
    "\udcff",
    "x" * 10**5,
)


def _run(*arguments: str) -> Callable[[Path, Good], list[str]]:
    return lambda folder, good: [*arguments]


def _traced(*more: str) -> Callable[[Path, Good], list[str]]:
    def build(folder: Path, good: Good) -> list[str]:
        (folder / "g.gguf").write_bytes(b"GGUF" + bytes(100))
        return [*_ASK, *more]

    return build


def _with_medium(kind: str, units: str) -> Callable[[Path, Good], list[str]]:
    name = {"image": "m.png", "audio": "m.wav", "video": "m.mp4"}[kind]

    def build(folder: Path, good: Good) -> list[str]:
        (folder / name).write_bytes(file_of(name[2:]))
        options = (f"--{kind}", name, "--ask", "What?", f"--{kind}-units", units)
        return ["trace", *options, *_SHORT]

    return build


def _others(good: Good) -> list[tuple[list[str], Expected]]:
    """Other commands; "{trace}" and the like name good files."""
    trace, labels, evaluation = str(good.trace), str(good.labels), str(good.evaluation)
    return [
        (["show"], "refused"),
        (["show", trace, "--html", "/proc/x/y.html"], "refused"),
        (["show", trace, "--html", "full"], "refused"),
        (["show", trace, "--html", "."], "refused"),
        (["show", trace, "--html", "a\x00"], "refused"),
        (["show", trace, "--html", "a" * 300], "refused"),
        (["show", trace, "--html", "\udcff.html"], "either"),
        (["analyse", trace, "--plot", "x.exe"], "refused"),
        (["analyse", trace, "--plot", "/proc/x/y.png"], "refused"),
        (["analyse", trace, "--by", "tokens", "--window", _HUGE], "either"),
        (["analyse", trace, "--seed", _HUGE], "either"),
        (["analyse", trace, "--section", "zzz"], "refused"),
        (["compare", evaluation, evaluation, "--seed", _HUGE], "either"),
        (["compare", evaluation, evaluation, "--fail-if", "zzz"], "refused"),
        (["compare", evaluation, evaluation, "--fail-if", "f1 < " + "9" * 5000], "either"),
        (["compare", evaluation, evaluation, "--fail-if", "\udcff"], "refused"),
        (["label", "init", trace, "--out", "/proc/x"], "refused"),
        (["label", "init", trace, "--out", "."], "refused"),
        (["label", "init", trace, "--out", "a\x00"], "refused"),
        (["label", "judge", trace, "--out", "l.jsonl"], "refused"),
        (["label", "judge", trace, "--out", "l.jsonl", "--url", "http://[::1/x"], "refused"),
        (["list", "zzz"], "refused"),
        (["zzz"], "refused"),
        (["\udcff"], "refused"),
        (["evaluate", trace], "refused"),
        (["evaluate", trace, "--labels", labels, "--metrics", "zzz"], "refused"),
        (["evaluate", trace, "--labels", labels, "--metrics", "\udcff"], "refused"),
        (["evaluate", trace, "--labels", labels, "--seed", _HUGE], "either"),
        (["evaluate", trace, "--labels", labels, "--operator", "zzz"], "refused"),
        (["evaluate", trace, "--labels", labels, "--embedder", "/etc/passwd"], "refused"),
        *(
            (["evaluate", trace, "--labels", labels, option, place], "refused")
            for option in ("--json", "--csv", "--html")
            for place in (".", "/proc/x", "full", "a\x00", "a" * 300, "taken/x")
        ),
        *(
            ([*_ASK, *_SHORT, "--out", place], "refused")
            for place in ("taken", "taken/x", "a\x00", "/proc/x", "a" * 300)
        ),
        *(
            ([*_ASK, *_SHORT, "--media-root", place], "refused")
            for place in ("/etc/passwd", "a\x00", "zzz", "a" * 5000)
        ),
        (["reference", "sample", "--seed", _HUGE, "--out", "o"], "either"),
        (["reference", "sample", "--questions", _HUGE, "--out", "o"], "either"),
        (["reference", "sample", "--out", "taken"], "refused"),
        (["reference", "sample", "--out", "/proc/x"], "refused"),
        (["demo", "--out", "/proc/x"], "refused"),
        (["demo", "--out", "taken"], "refused"),
        (["plan", "/etc/passwd"], "refused"),
        (["plan", "--model", "zzz"], "refused"),
        (["sanity", "/etc/passwd"], "refused"),
        (["sanity", trace, "--threshold", "nan"], "refused"),
        (["doctor", "zzz"], "refused"),
        (["doctor", "/etc/passwd"], "refused"),
        *(
            ([command, "/etc/passwd", "--out", "o.json"], "refused")
            for command in ("calibrate", "select-heads")
        ),
        *(
            (["estimator", "train", "--requests", "r.json", "--out", "e", *more], "refused")
            for more in (
                ("--held-out", "2"),
                ("--held-out", "nan"),
                ("--keep-rates", "nan,2,x"),
                ("--keep-rates", "9" * 5000),
                ("--layers", "99,-1"),
                ("--layers", "9" * 5000),
                ("--level", "nan"),
                ("--noise", "nan"),
                ("--noise", "-1"),
            )
        ),
    ]  # fmt: skip


def _other(index: int) -> Callable[[Path, Good], list[str]]:
    def build(folder: Path, good: Good) -> list[str]:
        text = '{"messages": [{"role": "user", "content": "The lamp is blue. What colour is it?"}]}'
        (folder / "r.json").write_text(text, encoding="utf-8")
        (folder / "taken").write_text("a file", encoding="utf-8")
        (folder / "full").symlink_to("/dev/full")  # never a device itself: it would be replaced
        return _others(good)[index][0]

    return build


def _name(arguments: Sequence[str]) -> str:
    return ascii(" ".join(each[:40] for each in arguments))[1:-1]


def _known() -> Iterator[Case]:
    for more, expected in _TRACE:
        yield Case("options", _name(more), _traced(*more), expected)
    nowhere = Good(Path("/nowhere"))
    for index, (arguments, expected) in enumerate(_others(nowhere)):
        yield Case("options", _name(arguments), _other(index), expected)
    for kind, unitizer, parameter in _PARAMETERS:
        for value in ("x", "NaN", "-1", "0", _HUGE, "1" + "0" * 400, "9" * 5000, "1e-300", "true"):
            units = f"{unitizer}:{parameter}={value}"
            yield Case("options", _name([kind, units]), _with_medium(kind, units))
    for kind in ("image", "audio", "video"):
        for spelling in _SPELLINGS:
            build = _with_medium(kind, spelling)
            yield Case("options", _name([kind, spelling]), build, "refused")
    for path in SPECIAL_PATHS:
        for option in ("--text", "--ask"):
            build = _traced("--text", "a.", option, f"@{path}", *_SHORT)
            text = path in ("/etc/passwd", "/proc/self/environ")
            expected: Expected = "either" if text else "refused"
            yield Case("options", _name([option, f"@{path}"]), build, expected)
        yield Case("options", _name(["--model", path]), _traced("--model", path), "refused")


def _more(rng: random.Random, index: int) -> Case:
    kind, unitizer, parameter = rng.choice(_PARAMETERS)
    value = rng.choice(_VALUES).replace("{key}", parameter)
    if rng.random() < 0.6:
        units = f"{unitizer}:{parameter}={value}"
        return Case("options", _name([kind, units]), _with_medium(kind, units))
    known = [more for more, _ in _TRACE]
    more = [*rng.choice(known), *rng.choice(known)]
    if rng.random() < 0.5:
        more[rng.randrange(len(more))] = rng.choice(_VALUES)
    return Case("options", _name(more), _traced(*more, *_SHORT))


SOURCE: Final = Source(_known, _more)
