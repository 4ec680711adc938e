"""The model inside of what it was wrapped in: PEFT, ``torch.compile``, data parallelism.

Rows, gradients and ablations are of the ``transformers`` model itself. A wrapper that adds nothing
outside of it is taken off; one that changes what the model is fed is refused by name.
"""

from __future__ import annotations

from typing import Any, Final

from torch import nn

from omnitrace.errors import ModelError, NotSupportedError

__all__ = ["check_writes_text", "unwrapped"]

# What PEFT does outside of the model's own layers, or by the tokens of a whole request.
_OUTSIDE: Final = {
    "ADAPTION_PROMPT": "attends to prompts of its own in some layers",
    "XLORA": "chooses its experts by a pass before the model's own",
    "POLY": "chooses its skills by the task that it is told",
}
_SHARDED: Final = ("FullyShardedDataParallel", "DeepSpeedEngine")
_MOST: Final = 8  # wrappers in each other


def check_writes_text(model: Any) -> None:
    """Refuse what is no decoder that writes text, by its name.

    Raises
    ------
    ModelError
        For a pipeline, an encoder-decoder, a model without a language-modelling head, a classifier.
    """
    kind = type(model).__name__
    if not isinstance(model, nn.Module):
        inside = getattr(model, "model", None)
        raise ModelError(
            f"a {kind} was given as the model",
            legal="a model of transformers, such as AutoModelForCausalLM.from_pretrained loads",
            fix="pass its .model and .tokenizer" if isinstance(inside, nn.Module) else "",
        )
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        raise ModelError(
            f"{kind} is an encoder-decoder, whose sources are read by another stack of layers",
            legal="decoder-only models",
        )
    can = getattr(model, "can_generate", None)
    if not callable(getattr(model, "generate", None)) or (callable(can) and not can()):
        raise ModelError(
            f"{kind} writes no text",
            legal="a model with a language-modelling head, such as AutoModelForCausalLM loads",
        )


def unwrapped(model: Any) -> Any:
    """Return the model of ``transformers`` inside of its wrappers.

    Raises
    ------
    NotSupportedError
        If a wrapper does more than the model inside it, or has taken its weights apart.
    """
    for _ in range(_MOST):
        inner = _inside(model)
        if inner is None:
            break
        model = inner
    if getattr(model, "_compiled_call_impl", None) is not None:
        raise NotSupportedError(
            f"{type(model).__name__} was compiled in place, by model.compile(): what its attention "
            "computes cannot be seen",
            legal="models that are not compiled, or torch.compile(model), which is unwrapped",
        )
    if (getattr(model, "_tp_size", None) or 1) > 1:
        raise NotSupportedError(
            f"{type(model).__name__} runs in tensor parallel (tp_plan): each process sees the "
            "attention of its own heads only",
            legal="models whose layers are whole",
            fix="leave out tp_plan; for a model too large for one device use device_map='auto'",
        )
    return model


def _inside(model: Any) -> Any | None:
    """Return what is inside the outermost wrapper; None if there is no wrapper."""
    kinds = [each.__name__ for each in type(model).__mro__]
    if "OptimizedModule" in kinds:
        return model._orig_mod
    if any(kind in _SHARDED for kind in kinds):
        raise NotSupportedError(
            f"the weights of the model are spread by {kinds[0]}",
            legal="models whose layers hold their own weights; device_map='auto' for large ones",
        )
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return model.module
    if "PeftModel" in kinds:
        _refuse_outside(model)
        return model.get_base_model()
    return None


def _refuse_outside(model: Any) -> None:
    """Refuse an adapter that acts outside of the model's layers."""
    for name in model.active_adapters:
        config = model.peft_config[name]
        kind = str(getattr(config.peft_type, "value", config.peft_type))
        reason = _OUTSIDE.get(kind)
        if config.is_prompt_learning:
            reason = "puts virtual tokens before the prompt, which belong to no source"
        if getattr(config, "alora_invocation_tokens", None):
            kind, reason = "aLoRA", "begins where it finds its own tokens in the prompt"
        if reason is not None:
            raise NotSupportedError(
                f"the adapter {name!r} ({kind}) {reason}",
                legal="adapters in the model's layers, such as LoRA, DoRA, IA3 or OFT",
                fix="merge the adapter into the model if it can be, or trace the base model",
            )
