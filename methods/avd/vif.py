"""AVD's frame interpolation: `vif` trains the network, `avd+vif` samples a trained few-step student with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NoReturn, cast

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from harness.api import (
    Backbone,
    Batch,
    ClipSpec,
    Method,
    Needs,
    Options,
    Sampler,
    Services,
    Turn,
    UserError,
    register_method,
)
from methods.avd.frame_plan import FramePlan, HalfRate, frame_evaluations
from methods.avd.interpolation import (
    InterpolationUNet,
    Norm,
    Upsampler,
    every_second,
    interleave,
    interpolate,
    interpolation_loss,
    linear_middle,
    neighbours,
)
from methods.supervised import SamplerOptions, chosen

EQUATIONS = (every_second, neighbours, interleave, interpolate, linear_middle, interpolation_loss, frame_evaluations)


class Interpolator:
    """The role `interp`: clean latents of F frames in, of 2F - 1 frames out."""

    def __init__(self, net: torch.nn.Module) -> None:
        self.net = net

    def __call__(self, z: Tensor) -> Tensor:
        """z `[B, C, F, H, W]` to `[B, C, 2F - 1, H, W]`; one frame comes back alone."""
        return interpolate(z, self.net)


def _upsampler(roles: Mapping[str, Any]) -> Upsampler:
    return cast(Interpolator, roles["interp"])


class VifOptions(Options):
    """The network, and how the row samples the untouched backbone."""

    channels: tuple[int, int, int] = Field((32, 64, 128), description="of the three levels of the U-Net")
    norm: Norm = Field("group", description="batch is the official layout")
    residual: bool = Field(False, description="learn the difference to the neighbours' mean, for short trainings")
    rate: float = Field(1.0, gt=0, description="factor on train.lr, for suites whose rate suits distillation")
    sampler: SamplerOptions = SamplerOptions()

    @field_validator("channels")
    @classmethod
    def _positive(cls, value: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(value) < 1:
            raise ValueError("every level needs at least one channel")
        return value


@register_method
class Vif(Method):
    """Trains the interpolation network on real latents: every second frame in, all frames out, squared error.

    It draws no noise and reads no text. As a row by itself, the untouched backbone makes every second frame with the
    multi-step sampler and the network fills in the rest.
    """

    name = "vif"
    Config: ClassVar[type[Options]] = VifOptions
    turns: Sequence[Turn] = (Turn("interp"),)

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(roles=("interp",), fields=("latent",))

    @classmethod
    def turns_for(cls, config: Any) -> Sequence[Turn]:
        return (Turn("interp", rate=config.rate),)

    @classmethod
    def build(cls, config: Any, role: str, base: Backbone, trainable: bool) -> Any:
        """The interpolation network for `interp`, on the backbone's device; in float64 if the backbone is."""
        if role != "interp":
            return super().build(config, role, base, trainable)
        like = next(base.net.parameters())
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        latent_channels = base.latent_shape(ClipSpec())[0]
        net = InterpolationUNet(latent_channels, config.channels, config.norm, config.residual)
        return Interpolator(net.to(like.device, dtype).requires_grad_(trainable).train(trainable))

    @classmethod
    def equations(cls) -> tuple[Callable[..., Any], ...]:
        return EQUATIONS

    def loss(self, role: str, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """The interpolation loss; `linear` is that of averaging the neighbours. UserError for 1 or even F."""
        z = batch.latent
        if z.shape[2] == 1:
            raise UserError("clips of one latent frame have nothing to interpolate", "raise clip.frames")
        loss = interpolation_loss(z, _upsampler(self.roles))
        with torch.no_grad():
            linear = interpolation_loss(z, lambda half: interpolate(half, linear_middle))
        return loss, {"linear": linear.item()}

    @classmethod
    def nfe(cls, config: Any, generate: Mapping[str, Any]) -> int:
        return chosen(Services({}, 0, generate), config.sampler).nfe

    def sampler(self) -> Sampler:
        return HalfRate(chosen(self.services, self.config.sampler), _upsampler(self.roles))


class AvdVifOptions(Options):
    """Which rows supply the two networks, and when the frame rate changes."""

    student: str = Field("avd", description="row of the suite that trains the few-step student")
    interp: str = Field("vif", description="row of the suite that trains the interpolation network")
    times: tuple[float, ...] = Field((1.0, 0.9, 0.757, 0.522), description="must be the list the student trains on")
    low_steps: int = Field(2, ge=0, description="calls at half the frame rate; 0 samples as the student's row does")

    @model_validator(mode="after")
    def _samples(self) -> AvdVifOptions:
        try:
            self.plan(upsample=lambda z: z)
        except UserError as error:
            raise ValueError(error.problem) from None
        return self

    def plan(self, upsample: Upsampler) -> FramePlan:
        """The sampler with these times."""
        return FramePlan(self.times, upsample, self.low_steps)


@register_method
class AvdVif(Method):
    """A trained few-step student at half the frame rate while noise is high, interpolated, then at the full rate.

    Nothing is trained here: the student and the interpolation network come from two other rows.
    """

    name = "avd+vif"
    Config: ClassVar[type[Options]] = AvdVifOptions
    turns: Sequence[Turn] = ()

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(fields=(), checkpoints={"student": config.student, "interp": config.interp})

    @classmethod
    def equations(cls) -> tuple[Callable[..., Any], ...]:
        return EQUATIONS

    def loss(self, role: str, batch: Batch, step: int) -> NoReturn:
        """Never asked for: there are no turns."""
        raise TypeError("avd+vif trains nothing and has no loss")

    @classmethod
    def nfe(cls, config: Any, generate: Mapping[str, Any]) -> int:
        return len(config.times)

    def sampler(self) -> Sampler:
        return self.config.plan(_upsampler(self.roles))
