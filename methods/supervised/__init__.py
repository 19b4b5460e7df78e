"""Supervised fine-tuning: one trainer, three parts, and the baselines as presets of it."""

from __future__ import annotations

from harness.api import register_method
from methods.supervised import timelaws, weights
from methods.supervised.guests import GuestOptions, Guests, Hosting
from methods.supervised.parts import ElementWeight, LawOptions, TimeLaw
from methods.supervised.retention import Retention, RetentionOptions
from methods.supervised.sampler import FewSteps, MultistepCFG, SamplerOptions, chosen, multistep
from methods.supervised.trainer import Supervised, SupervisedOptions

__all__ = [
    "ElementWeight",
    "FewSteps",
    "GuestOptions",
    "Guests",
    "Hosting",
    "LawOptions",
    "MultistepCFG",
    "Retention",
    "RetentionOptions",
    "SamplerOptions",
    "Supervised",
    "SupervisedConst2",
    "SupervisedLogitNormal",
    "SupervisedOptions",
    "SupervisedUniform",
    "TimeLaw",
    "chosen",
    "multistep",
    "timelaws",
    "weights",
]


@register_method
class SupervisedUniform(Supervised):
    """Plain fine-tuning with uniform time, the CogVideoX baseline."""

    name = "supervised-uniform"
    preset = {"time_law": {"name": "uniform"}}


@register_method
class SupervisedLogitNormal(Supervised):
    """Plain fine-tuning with logit-normal time, the Wan baseline."""

    name = "supervised-logitnormal"
    preset = {"time_law": {"name": "logit_normal"}}


@register_method
class SupervisedConst2(Supervised):
    """Logit-normal fine-tuning with every weight 2: the control for LTD, whose weights are never below 2."""

    name = "supervised-const2"
    preset = {"time_law": {"name": "logit_normal"}, "element_weight": {"name": "const", "value": 2.0}}
