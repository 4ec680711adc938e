"""What to change where a request does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from omnitrace.engine.planning.costs import SignalCost
    from omnitrace.engine.planning.result import Plan, PlannedSource

__all__ = ["advice"]

_LONG: Final = 0.25  # share of the prompt from which on a source is worth naming
_DEAR: Final = 4.0  # passes over prompt and response


def advice(plan: Plan) -> tuple[str, ...]:
    """Say what to change: where the prompt is too long, and where memory does not suffice."""
    found: list[str] = []
    limit = plan.context_limit
    if limit is not None and plan.prompt_tokens + plan.max_new_tokens > limit:
        found.append(
            f"prompt and response have {plan.prompt_tokens + plan.max_new_tokens} tokens; the "
            f"model takes {limit}"
        )
        found += _shorter(plan)
    if plan.available is None:
        return tuple(found)
    if plan.resident + plan.loading > plan.available:
        found += _smaller_weights(plan)
    elif plan.peak_untraced > plan.available:
        found.append("the request does not fit even without a tracer")
        found += _shorter(plan)
    else:
        for cost in plan.signals:
            if not cost.problem and plan.resident + cost.peak > plan.available:
                found += _cheaper(plan, cost)
    return tuple(dict.fromkeys(found))


def _shorter(plan: Plan) -> list[str]:
    sources = sorted(plan.sources, key=lambda each: -each.tokens)
    found = [
        f"{_called(each)} has {each.tokens} of {plan.prompt_tokens} prompt tokens: shorten it, or "
        "leave it out" + _of_kind(each)
        for each in sources[:2]
        if each.tokens >= _LONG * plan.prompt_tokens
    ]
    if len(plan.sources) > 1 and not found:
        found.append(f"no source of the {len(plan.sources)} stands out: use fewer of them")
    return found


def _called(source: PlannedSource) -> str:
    return f"{source.modality} {source.name!r}" if source.name else source.modality


def _of_kind(source: PlannedSource) -> str:
    return {
        "video": ", or lower SourceOptions(video_fps=…)",
        "image": ", or make it smaller",
    }.get(source.modality, "")


def _smaller_weights(plan: Plan) -> Sequence[str]:
    lines = ["the model cannot be loaded: what it takes is more than may be used"]
    if plan.dtype in ("float32", "float64"):
        lines.append("load them in half precision: dtype='bfloat16' (--dtype bfloat16)")
    lines.append("spread them over all devices and the processor: device_map='auto'")
    return lines


def _cheaper(plan: Plan, cost: SignalCost) -> list[str]:
    name = cost.signal
    found = []
    if cost.passes is None or cost.passes > _DEAR:
        found.append(f"{name} does not fit while it measures: lower max_new_tokens")
        if "verify" in name or name == "verified":
            found.append(
                "spend less on verification, verify=Verify(budget=2), or leave it out, verify=False"
            )
    else:
        found.append(f"{name} does not fit: compute fewer rows at once, block=4")
    return found + _shorter(plan)
