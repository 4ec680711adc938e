"""Names of ``transformers`` that Omnitrace relies on and that are not its public API.

When one of these fails after an upgrade, the module named in the test is where to look.
"""

from __future__ import annotations

import inspect

import transformers
from packaging.version import Version
from transformers import (
    GenerationConfig,
    GenerationMixin,
    Qwen2_5OmniProcessor,
    modeling_gguf_pytorch_utils,
    processing_utils,
)
from transformers.generation.configuration_utils import GenerationMode
from transformers.generation.utils import StopCheck
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni as omni

from tests.helpers.tiny_models import tiny


def test_the_supported_range() -> None:
    assert Version("5.23") <= Version(transformers.__version__) < Version("6")


def test_capture_interface() -> None:
    """omnitrace/capture/attention_hooks.py."""
    assert "sdpa" in ALL_ATTENTION_FUNCTIONS.valid_keys()
    assert "eager" in ALL_MASK_ATTENTION_FUNCTIONS.valid_keys()
    assert "sdpa" in ALL_MASK_ATTENTION_FUNCTIONS.valid_keys()
    config = tiny("llama").config
    assert config._attn_implementation == "sdpa"
    config._attn_implementation_internal = "eager"
    assert config._attn_implementation == "eager"
    assert callable(inspect.getmodule(type(tiny("llama"))).eager_attention_forward)
    source = inspect.getsource(omni.Qwen2_5OmniAttention.forward)
    assert "self.config._attn_implementation" in source
    for option in ("scaling=", "sliding_window="):
        assert option in source


def test_capture_reads_the_names_of_options() -> None:
    """omnitrace/capture/decode.py reads scaling, sliding_window, softcap and s_aux."""
    from transformers.models.gemma2 import modeling_gemma2
    from transformers.models.gpt_oss import modeling_gpt_oss

    assert "softcap=" in inspect.getsource(modeling_gemma2.Gemma2Attention.forward)
    assert "s_aux=" in inspect.getsource(modeling_gpt_oss.GptOssAttention.forward)


def test_generation() -> None:
    """models/generation.py: the streamer sees the prompt first, then each selected token."""
    assert GenerationMode.GREEDY_SEARCH.value == "greedy_search"
    assert GenerationMode.SAMPLE.value == "sample"
    assert "streamer.put(input_ids.cpu())" in inspect.getsource(GenerationMixin.generate)
    assert "self.streamer.put" in inspect.getsource(StopCheck)
    config = GenerationConfig()
    assert config.update(max_new_tokens=3, not_a_setting=1) == {"not_a_setting": 1}
    for name in ("guidance_scale", "num_return_sequences", "cache_implementation"):
        assert hasattr(config, name)
    assert config.get_generation_mode() == GenerationMode.GREEDY_SEARCH


def test_qwen2_5_omni() -> None:
    """models/processor_call.py."""
    parameters = inspect.signature(Qwen2_5OmniProcessor.__call__).parameters
    assert {"text", "images", "videos", "audio"} <= set(parameters)
    call = inspect.getsource(Qwen2_5OmniProcessor.__mro__[1].__call__)
    if hasattr(processing_utils, "OmniModalProcessorMixin"):
        assert "audio_from_video_indices" in call
        assert "load_audio_from_video" in call
    else:
        assert "use_audio_in_video" in inspect.getsource(Qwen2_5OmniProcessor.__call__)
    thinker = omni.Qwen2_5OmniThinkerForConditionalGeneration
    assert "use_audio_in_video" in inspect.signature(thinker.forward).parameters
    holder = getattr(omni, "Qwen2_5OmniThinkerModel", thinker)
    assert "rope_deltas" in inspect.getsource(holder.__init__)


def test_the_bar_over_the_tensors_of_a_gguf_file() -> None:
    """models/loading.py: it is a name of this module, which can be another one for a while."""
    assert callable(modeling_gguf_pytorch_utils.tqdm)
