"""A plan counts as a trace does, and says what to change where a request does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import omnitrace
from omnitrace import InputError, ModelError, NotSupportedError, PluginError, SourceOptions, Tracer
from omnitrace.engine.planning.memory import Sizes, generating, measuring, tracing
from omnitrace.engine.planning.plan import every_signal
from omnitrace.models.base import LoadOptions
from omnitrace.models.loading import load_adapter
from omnitrace.models.memory import weight_bytes
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import held_out_seed, make_sample
from omnitrace.signals.verified.options import Verify
from omnitrace.sources.request_files import RequestEntry, read_requests
from omnitrace.types import Modality
from tests.helpers.two_documents import two_documents

GIGABYTE = 10**9


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> RequestEntry:
    """A request with all modalities."""
    order: tuple[Modality, ...] = ("text", "image", "audio", "video")
    drawn = make_sample(held_out_seed(0), questions=2, order=order, long=False)
    (entry,) = read_requests(write_sample(drawn, tmp_path_factory.mktemp("sample")))
    assert isinstance(entry, RequestEntry)
    return entry


def test_tokens_and_units_are_those_of_the_trace(sample: RequestEntry) -> None:
    made = omnitrace.plan(sample.messages, model="reference", media_root=sample.media_root)
    trace = Tracer.from_pretrained("reference", signal="attention-mean").trace(
        sample.messages, media_root=sample.media_root, max_new_tokens=2
    )
    assert made.prompt_tokens == len(trace.prompt_ids)
    assert {each.modality for each in made.sources} == {"text", "image", "audio", "video"}
    for source in made.sources:
        place = (source.message, source.part)
        own = [u for u in trace.units if (u.locator.message, u.locator.part) == place]
        assert source.units == len(own)
        if own and source.modality != "text":
            assert source.tokens == len({p for unit in own for p in unit.positions})
    assert [each.name for each in made.sources if each.modality == "image"] != [""]


def test_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import PreTrainedModel

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("weights are loaded")

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", refuse)
    made = omnitrace.plan(two_documents(0), model="reference", signals=every_signal())
    adapter = load_adapter("reference", LoadOptions(weights=False))
    assert made.weights == weight_bytes(adapter.model)
    assert made.context_limit == adapter.max_context
    assert made.advice == ()
    assert made.fits


def test_signals_cost_what_they_need() -> None:
    made = omnitrace.plan(two_documents(0), model="reference", signals=every_signal())
    by_name = {each.signal: each for each in made.signals}
    plain, default = by_name["attention-mean"], by_name["value-attention + verify"]
    assert plain.passes == by_name["grad-sam"].passes == 0
    assert by_name["grad-sam"].decoding > plain.decoding > 1
    assert default.passes is not None
    assert default.passes >= 3
    assert default.peak > by_name["value-attention"].peak > plain.peak
    assert by_name["mask-gradient"].passes is not None
    units = sum(each.units for each in made.sources)
    assert by_name["feature-ablation"].passes == 2 + units + 1
    assert all(each.seconds is None for each in made.signals)


def test_a_signal_that_refuses_the_request_says_why() -> None:
    from omnitrace.signals.captum.perturbation import FeatureAblation

    signal = FeatureAblation(max_forwards=2)
    (cost,) = omnitrace.plan(two_documents(0), model="reference", signals=[signal]).signals
    assert "more than max_forwards=2" in cost.problem


def test_a_smaller_budget_costs_less_and_a_measuring_signal_is_not_verified() -> None:
    def passes(verify: Verify, signal: str | None = None) -> float:
        made = omnitrace.plan(
            two_documents(0) * 1,
            model="reference",
            signals=[signal],
            verify=verify,
            max_new_tokens=2000,
        )
        assert made.signals[0].passes is not None
        return made.signals[0].passes

    assert passes(Verify(budget=4)) < passes(Verify(budget=20))
    assert passes(Verify(budget=20), "mask-gradient") == passes(Verify(), "mask-gradient")


def test_half_the_precision_takes_half_the_weights_and_cache() -> None:
    full, half = (
        omnitrace.plan(two_documents(0), model="reference", dtype=dtype, device="cuda", memory=1)
        for dtype in (None, "bfloat16")
    )
    assert half.dtype == "bfloat16"
    assert half.cache == full.cache / 2
    assert half.weights < 0.6 * full.weights
    assert full.process == 0


def test_what_does_not_fit_is_explained(sample: RequestEntry) -> None:
    def advice(memory: int, **options: object) -> str:
        made = omnitrace.plan(
            sample.messages,
            model="reference",
            device="cuda",
            memory=memory,
            media_root=sample.media_root,
            **options,  # type: ignore[arg-type]
        )
        assert made.fits is (made.advice == ())
        return "\n".join(made.advice)

    full = omnitrace.plan(
        sample.messages, model="reference", device="cuda", media_root=sample.media_root, memory=1
    )
    assert advice(GIGABYTE) == ""
    assert "dtype='bfloat16'" in advice(full.weights // 2)
    assert "device_map='auto'" in advice(full.weights // 2, dtype="bfloat16")
    said = advice(full.weights + 1000)
    assert "even without a tracer" in said
    longest = max(full.sources, key=lambda each: each.tokens)
    assert f"{longest.modality} {longest.name!r} has {longest.tokens} of" in said
    between = (full.peak_untraced + full.peak) // 2
    assert "verify=Verify(budget=2)" in advice(between)
    (rows,) = omnitrace.plan(
        two_documents(0), model="reference", signals=["attention-mean"], device="cuda", memory=1
    ).signals
    close = omnitrace.plan(
        two_documents(0),
        model="reference",
        signals=["attention-mean"],
        device="cuda",
        memory=full.weights + rows.peak - 1,
    )
    assert any("block=4" in line for line in close.advice)


def test_too_many_tokens_are_said_and_not_refused() -> None:
    made = omnitrace.plan(
        two_documents(0), model="reference", max_new_tokens=5000, memory=GIGABYTE, device="cuda"
    )
    assert any("the model takes 4096" in line for line in made.advice)


def test_a_long_video_is_told_to_have_fewer_frames(sample: RequestEntry) -> None:
    (video,) = [
        part
        for part in sample.messages[0]["content"]
        if isinstance(part, dict) and part.get("type") == "video"
    ]
    messages = [{"role": "user", "content": [video, {"type": "text", "text": "What happens?"}]}]
    made = omnitrace.plan(
        messages, model="reference", media_root=sample.media_root, device="cuda", memory=9_000_000
    )
    assert any("lower SourceOptions(video_fps=…)" in line for line in made.advice)


def test_seconds_come_with_a_measured_model() -> None:
    made = omnitrace.plan(
        two_documents(0),
        model="reference",
        signals=["attention-mean", None],
        max_new_tokens=4,
        measure=True,
    )
    plain, verified = (each.seconds for each in made.signals)
    assert plain is not None
    assert verified is not None
    assert 0 < plain < verified


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="no-such-signal"):
        omnitrace.plan(two_documents(0), model="reference", signals=["no-such-signal"])
    with pytest.raises(InputError, match="verify is 3"):
        omnitrace.plan(two_documents(0), model="reference", verify=3)  # type: ignore[arg-type]


def test_units_that_need_the_model_are_refused(sample: RequestEntry) -> None:
    with pytest.raises(NotSupportedError, match="'grid' and 'whole'"):
        omnitrace.plan(
            sample.messages,
            model="reference",
            sources=SourceOptions(image="ward"),
            media_root=sample.media_root,
        )


def test_memory_grows_with_what_it_depends_on() -> None:
    model = load_adapter("reference", LoadOptions(weights=False)).model
    few = Sizes(model, 4, 500, 50, 400, 10, 3, frozenset({"text"}), 0, 16)
    more = Sizes(model, 4, 1000, 50, 900, 10, 3, frozenset({"text"}), 0, 16)
    rows, values, gradients = (
        frozenset({"rows"}),
        frozenset({"rows", "values"}),
        frozenset({"rows", "logit-gradients"}),
    )
    assert generating(more) > generating(few)
    assert measuring(more) > measuring(few)
    assert measuring(few, 1.0) <= measuring(few)
    for needs in (rows, values, gradients):
        assert tracing(more, needs) > tracing(few, needs)  # type: ignore[arg-type]
    assert tracing(few, values) > tracing(few, rows)  # type: ignore[arg-type]


def test_quantised_weights_are_as_large_as_their_files(tmp_path: Path) -> None:
    """Their shapes do not say how many bits a number has."""
    from omnitrace.reference import model_path

    folder = tmp_path / "quantised"
    shutil.copytree(model_path("reference"), folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    made = omnitrace.plan(two_documents(0), model=str(folder), device="cuda", memory=GIGABYTE)
    assert made.weights == (folder / "model.safetensors").stat().st_size
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="size of the quantised weights"):
        omnitrace.plan(two_documents(0), model=str(folder))
