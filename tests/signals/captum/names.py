"""The names of the signals that run Captum's methods."""

from __future__ import annotations

from typing import Final

CAPTUM_SIGNALS: Final = (
    "feature-ablation",
    "shapley",
    "kernel-shap",
    "lime",
    "integrated-gradients",
    "input-x-gradient",
)
