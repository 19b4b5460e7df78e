"""TQD (timestep-aware quality decoupling) and its data-filter-only control."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.api import Batch, register_method
from methods.diagnosis import Log
from methods.supervised import Supervised
from methods.tqd import diagnostics, equations, parts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TQD", "DataFilter", "diagnostics", "equations", "parts"]


@register_method
class TQD(Supervised):
    """Clips good in motion train at high noise, clips good in looks at low noise; clips good in neither are dropped."""

    name = "tqd"
    preset = {"time_law": {"name": "tqd_beta"}, "retention": {"name": "tqd"}}

    @classmethod
    def equations(cls) -> tuple[Callable[..., Any], ...]:
        own = (equations.normalise, equations.keep_probability, equations.beta_mean, equations.concentration)
        return (*own, equations.beta_parameters, equations.beta_quantile, *super().equations())

    def diagnostics(self, log: Log, batch: Batch) -> Mapping[str, Figure]:
        return diagnostics.of(self, log)


@register_method
class DataFilter(Supervised):
    """TQD's retention alone, with logit-normal time: what the filtering contributes without the time law."""

    name = "data-filter"
    preset = {"time_law": {"name": "logit_normal"}, "retention": {"name": "tqd"}}

    @classmethod
    def equations(cls) -> tuple[Callable[..., Any], ...]:
        return (equations.normalise, equations.keep_probability, *super().equations())

    def diagnostics(self, log: Log, batch: Batch) -> Mapping[str, Figure]:
        return diagnostics.of(self, log)
