"""VBench temporal_style (vbench 0.1.5, temporal_style.py)."""

from __future__ import annotations

from harness.api import register_metric
from metrics.vbench.viclip import PromptAgreement


@register_metric
class TemporalStyle(PromptAgreement):
    """How well a clip shows what its prompt says, on prompts that ask for camera motion, speed or focus.

    The computation of overall_consistency on other prompts: on a clip of one's own the two are the same number.
    """

    name = "vbench/temporal_style"
    dimension = "temporal_style"
