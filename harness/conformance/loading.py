"""A backbone loaded once, and what it is asked: a batch of three noisy clips."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.api import ClipSpec, UserError
from harness.config import validate
from harness.conformance.report import Fault

if TYPE_CHECKING:
    from torch import Tensor

SPECS = (ClipSpec(frames=9, height=32, width=48), ClipSpec(frames=49, height=128, width=192))  # the first that fits
TIMES = (0.2, 0.5, 0.8)
TEXTS = ("a red ball rolls", "two blue squares under a still camera", "nothing")
CLOSE = 1e-3  # relative, of single precision arithmetic
MATES = 1e-4  # of the spread of an answer


class BackboneBench:
    """One backbone under one configuration, loaded once, and a batch of three."""

    def __init__(self, kind: Any, settings: Mapping[str, Any]) -> None:
        self.kind, self.config = kind, validate(kind.Config, settings, kind.name)

    @cached_property
    def model(self) -> Any:
        import torch

        model = self.kind.load(self.config, torch.device("cpu"))
        model.net.requires_grad_(False).eval()
        return model

    @cached_property
    def spec(self) -> ClipSpec:
        """The smallest clip that the backbone takes."""
        for spec in SPECS:
            try:
                self.model.latent_shape(spec)
                return spec
            except UserError:
                continue
        raise Fault(f"latent_shape refuses clips of {', '.join(f'{s.frames} x {s.height} x {s.width}' for s in SPECS)}")

    def draw(self, seed: int, size: int = 3) -> Tensor:
        """Standard normal latents."""
        import torch

        shape = (size, *self.model.latent_shape(self.spec))
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.like)

    @cached_property
    def like(self) -> Tensor:
        """What latents are made like: the dtype in which the harness keeps them, on the network's device."""
        import torch

        parameter: Tensor = next(self.model.net.parameters())
        dtype = torch.float64 if parameter.dtype == torch.float64 else torch.float32
        return torch.zeros((), dtype=dtype, device=parameter.device)

    @cached_property
    def cond(self) -> Tensor:
        found: Tensor = self.model.encode_text(list(TEXTS))
        return found

    def t(self) -> Tensor:
        import torch

        return torch.tensor(TIMES, dtype=torch.float64)

    def ask(self, want: Any = "native", model: Any = None, **more: Any) -> Tensor:
        """An answer at fixed noisy latents and times."""
        import torch

        with torch.no_grad():
            found: Tensor = (model or self.model).predict(self.draw(1), self.t(), self.cond, want, **more)
        return found


def near(one: Any, other: Any, tolerance: float = CLOSE) -> float:
    """The largest difference over the spread of `one`; raises nothing."""
    return float((one - other).abs().max() / max(float(one.std()), 1e-12)) / tolerance
