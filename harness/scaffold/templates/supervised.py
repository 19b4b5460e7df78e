"""my-plugin: supervised fine-tuning with an objective of your own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from harness.api import Batch, Options, register_method
from methods.supervised.trainer import Supervised, SupervisedOptions, drop_captions, weighted_mean
from pydantic import Field
from torch import Tensor


class MyOptions(SupervisedOptions):
    """Your options: set in a suite file, or by `--set methods.my-plugin.slope=0.2`."""

    slope: float = Field(0.5, ge=-1, le=1, description="how much more an error counts near noise")


# ---- EDIT HERE ---------------------------------------------------------------------------------------------------


def objective(prediction: Tensor, target: Tensor, t: Tensor, options: MyOptions) -> Tensor:
    """(1 + slope (2 t - 1)) (prediction - target)^2, elementwise; the loss is its mean.

    Args:
        prediction: the network's answer `[B, C, F, H, W]`; target: what it should be (of a flow: eps - x0).
        t: `[B, 1, 1, 1, 1]` in [0, 1], 1 is pure noise.
    """
    error = (prediction.float() - target.float()).square()
    return (1 + options.slope * (2 * t - 1)) * error


# ------------------------------------------------------------------------------------------------------------------


@register_method
class MyPlugin(Supervised):
    """Fine-tuning that minds errors near pure noise more than errors near the clip."""

    name = "my-plugin"
    version = 1  # raise it when the numbers change: results are kept by name, version and options
    Config: ClassVar[type[Options]] = MyOptions

    @classmethod
    def equations(cls) -> tuple[Callable[..., Any], ...]:
        return (objective, weighted_mean)

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """One step. `batch.noise` is the only randomness; drawn in this order, rows of one seed share it."""
        x0 = batch.latent
        eps = batch.noise.normal(x0)
        drop = batch.noise.uniform() < self.config.p_drop
        t = self.time_law(batch.noise.uniform(), batch).to(x0.device)
        wide = t.reshape(-1, 1, 1, 1, 1)

        x_t = self.student.schedule.add_noise(x0, eps, wide).to(x0.dtype)
        cond = drop_captions(batch.cond, drop, self.student)
        prediction = self.student.predict(x_t, t, cond, "native")
        error = objective(prediction, self.student.target(x0, eps, t), wide.to(x0), self.config)
        loss = weighted_mean(error, self.element_weight(batch, t))
        return loss, {"error": error.detach().mean().item(), "t": t.mean().item()}
