"""VBench overall_consistency (vbench 0.1.5, overall_consistency.py)."""

from __future__ import annotations

from harness.api import register_metric
from metrics.vbench.viclip import PromptAgreement


@register_metric
class OverallConsistency(PromptAgreement):
    """How well a clip shows what its prompt says: the cosine of their ViCLIP features.

    -1 to 1, in practice 0 to 0.364. ViCLIP reads eight frames, and 30 tokens of the prompt.
    """

    name = "vbench/overall_consistency"
    dimension = "overall_consistency"
