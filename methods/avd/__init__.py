"""AVD: DMD with temporal regularisation and adaptive regression on real clips, and its ablations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from harness.api import Batch, Options, register_method
from methods.avd import diagnostics, equations, parts
from methods.avd.vif import AvdVif, Vif
from methods.diagnosis import Log
from methods.dmd import DistributionMatching, MatchingOptions
from methods.dmd.parts import named_options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["AVD", "AvdVif", "DmdTr", "DmdTrReg", "Vif", "diagnostics", "equations", "parts"]

# What AVD's released code does where it differs from the paper (D-AVD1, 4, 5, 6, 7).
RELEASED: Mapping[str, Mapping[str, Any]] = {
    "temporal": {"square": False, "threshold": 0.8},
    "regression": {"w_reg": 1.0, "reg_const": 1.0},
    "adaptive_regression": {"w_reg": 1.0, "ema_before_weight": True},
}


class VideoOptions(MatchingOptions):
    """Which side of the paper's and the released code's disagreements the parts take; what a row sets itself wins."""

    variant: Literal["paper", "released"] = Field("paper", description="where the two disagree")

    @model_validator(mode="before")
    @classmethod
    def _released(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("variant") != "released":
            return data
        specs = named_options(data.get("extra_losses", ()), "extra_loss")
        return {**data, "extra_losses": [{**RELEASED.get(str(spec.get("name")), {}), **spec} for spec in specs]}


class Regularised(DistributionMatching):
    """What the three names share."""

    Config: ClassVar[type[Options]] = VideoOptions

    @classmethod
    def equations(cls) -> tuple[Callable[..., Any], ...]:
        temporal = (equations.temporal_variance, equations.temporal_loss, equations.temporal_gradient_norm)
        gates = (equations.gate, equations.relative_threshold, equations.threshold_variance)
        adaptive = (equations.regression_loss, equations.adaptive_weight, equations.moving_average, equations.visit)
        return (*temporal, *gates, *adaptive, equations.student_objective, *super().equations())

    def diagnostics(self, log: Log, batch: Batch) -> Mapping[str, Figure]:
        options = [part.config for part in self.extras.values() if isinstance(part, parts.Temporal)]
        form = {"square": options[0].square, "eps": options[0].eps} if options else {}
        return {**super().diagnostics(log, batch), **diagnostics.figures(log, self.config.times, **form)}


@register_method
class DmdTr(Regularised):
    """DMD with temporal regularisation: the student is pushed to vary over time, up to a threshold."""

    name = "dmd+tr"
    preset = {"extra_losses": {"temporal": {}}}


@register_method
class DmdTrReg(Regularised):
    """DMD with temporal regularisation and regression on real clips of constant weight, AVD's mean weight."""

    name = "dmd+tr+reg"
    preset = {"extra_losses": {"temporal": {}, "regression": {}}}


@register_method
class AVD(Regularised):
    """DMD with temporal regularisation and regression on real clips whose weight falls where a clip is hard."""

    name = "avd"
    preset = {"extra_losses": {"temporal": {}, "adaptive_regression": {}}}
