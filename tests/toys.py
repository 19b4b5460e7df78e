"""A backbone small enough to train in a test: float64, either schedule, a codec that is only pooling."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from harness.api import Backbone, ClipSpec, Options, RectifiedFlow, VariancePreserving, Want, convert
from harness.backbones.base import spread
from harness.backbones.embeds import attach, given

TOKENS, WIDTH = 6, 8  # of a prompt's condition, [B, TOKENS, WIDTH]


def toy_abar(zero_terminal: bool, n: int = 1000) -> Tensor:
    """abar `[n]` of scaled-linear betas 0.00085 .. 0.012; shifted and scaled to end at exactly 0 on request."""
    root = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, n, dtype=torch.float64) ** 2, 0).sqrt()
    if zero_terminal:
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return root**2


class ToyNet(nn.Module):
    """Two convolutions over frames and pixels, with time and prompt added in between."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.into = nn.Conv3d(channels, hidden, 3, padding=1)
        self.time, self.prompt = nn.Linear(2, hidden), nn.Linear(TOKENS * WIDTH, hidden)
        self.out = nn.Conv3d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        known = self.time(torch.stack([t, t.square()], 1)) + self.prompt(cond.flatten(1))
        return self.out(torch.nn.functional.silu(self.into(x) + known[:, :, None, None, None]))


class ToyOptions(Options):
    """family: flow is rectified flow, v and eps variance preserving (v ends at alpha = 0); pool=1 is the identity."""

    family: Literal["flow", "v", "eps"] = "flow"
    hidden: int = 8
    pool: int = 8
    seed: int = 0


class ToyBackbone(Backbone):
    """A tiny convolutional denoiser of pooled pixels."""

    name = "toy"
    Config = ToyOptions

    def __init__(self, config: ToyOptions, device: torch.device) -> None:
        self.config, self.device = config, device
        self.native = config.family
        abar = toy_abar(zero_terminal=config.family == "v").to(device)
        self.schedule = RectifiedFlow() if config.family == "flow" else VariancePreserving(abar)
        self.caps = self.capabilities(config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.net: nn.Module = ToyNet(channels=3, hidden=config.hidden).double().to(device)

    @classmethod
    def load(cls, config: Any, device: torch.device) -> ToyBackbone:
        return cls(config, device)

    @classmethod
    def capabilities(cls, config: Any) -> frozenset[str]:
        return frozenset({"decode_grad", "guidance_embed", "motion_embed"})

    @classmethod
    def digest(cls, config: Any) -> str:
        return hashlib.sha256(f"toy 1 {config.model_dump_json()}".encode()).hexdigest()

    def latent_shape(self, spec: ClipSpec) -> tuple[int, int, int, int]:
        return 3, spec.frames, spec.height // self.config.pool, spec.width // self.config.pool

    def predict(
        self, x: Tensor, t: Tensor, cond: Tensor, want: Want, embeds: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        with given(self.net, embeds):
            answer = self.net(x.double(), t.to(x.device).double(), cond.double()).to(x)
        return convert(answer, x, spread(t, x), self.schedule, self.native, want)

    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        if self.native == "flow":
            return eps - x0
        if self.native == "eps":
            return eps
        at = t.to(x0.device).reshape(-1, *[1] * (x0.ndim - 1))
        return (self.schedule.alpha(at) * eps - self.schedule.sigma(at) * x0).to(x0)

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """The first words' hashes as pseudo-random vectors, zero beyond the last word."""
        cond = torch.zeros(len(prompts), TOKENS, WIDTH, dtype=torch.float64)
        for row, prompt in zip(cond, prompts, strict=True):
            for token, word in zip(row, prompt.lower().split(), strict=False):
                code = hashlib.sha256(word.encode()).digest()[:WIDTH]
                token += torch.tensor(list(code), dtype=torch.float64) / 127.5 - 1
        return cond.to(self.device)

    def null_cond(self, n: int) -> Tensor:
        return self.encode_text([""] * n)

    def encode(self, video: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool3d(video.double(), (1, self.config.pool, self.config.pool))

    def decode(self, latents: Tensor) -> Tensor:
        return latents.repeat_interleave(self.config.pool, 3).repeat_interleave(self.config.pool, 4)

    def clone(self, trainable: bool, embeds: Sequence[str] = ()) -> ToyBackbone:
        other = copy.copy(self)
        other.net = copy.deepcopy(self.net)
        attach(other.net, other.net.time, self.config.hidden, embeds)
        other.net.requires_grad_(trainable)
        return other
