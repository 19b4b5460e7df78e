"""Schedules and prediction conversions. Plain arithmetic: tensors, arrays or floats go in and come out.

Time t in [0, 1], t = 0 data, t = 1 noise; `x_t = alpha(t) x0 + sigma(t) eps`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Schedule(Protocol):
    """Where the noise is; `t` broadcasts against the samples (see `spread`)."""

    def alpha(self, t: Any) -> Any: ...
    def sigma(self, t: Any) -> Any: ...
    def add_noise(self, x0: Any, eps: Any, t: Any) -> Any: ...
    def step(self, x0: Any, eps: Any, s: Any) -> Any:
        """One ODE step to time s: `alpha(s) x0 + sigma(s) eps` (DDIM, eta = 0; exactly Euler for RF)."""
        ...


def spread(t: Tensor, like: Tensor) -> Tensor:
    """`[B]` to `[B, 1, ...]` in the dtype and device of `like`, to broadcast against samples."""
    return t.to(like).reshape(-1, *[1] * (like.ndim - 1))


class _Affine:
    def alpha(self, t: Any) -> Any:
        raise TypeError("a schedule defines alpha")

    def sigma(self, t: Any) -> Any:
        raise TypeError("a schedule defines sigma")

    def add_noise(self, x0: Any, eps: Any, t: Any) -> Any:
        return self.alpha(t) * x0 + self.sigma(t) * eps

    step = add_noise


class RectifiedFlow(_Affine):
    """alpha = 1 - t, sigma = t (Wan)."""

    def alpha(self, t: Any) -> Any:
        return 1 - t

    def sigma(self, t: Any) -> Any:
        return t


class VariancePreserving(_Affine):
    """alpha = sqrt(abar[i]), sigma = sqrt(1 - abar[i]), i = min(floor(t N), N - 1); back: t = (i + 0.5) / N.

    The half step makes the round trip exact in float64 and maps Beta(1, 1) to a uniform index.

    Args:
        alphas_cumprod: abar, `[N]` float64, descending in i.
    """

    def __init__(self, alphas_cumprod: Tensor) -> None:
        self.abar = alphas_cumprod.double()

    def index(self, t: Tensor) -> Tensor:
        n = len(self.abar)
        return (t.double() * n).floor().long().clamp(0, n - 1)

    def time(self, index: Tensor) -> Tensor:
        return (index.double() + 0.5) / len(self.abar)

    def alpha(self, t: Tensor) -> Tensor:
        return self.abar.to(t.device)[self.index(t)].sqrt().to(t.dtype)

    def sigma(self, t: Tensor) -> Tensor:
        return (1 - self.abar.to(t.device)[self.index(t)]).sqrt().to(t.dtype)


def shift(u: Any, s: float) -> Any:
    """Flow shift `s u / (1 + (s - 1) u)`; an option of a time law or grid, never of sigma(t)."""
    return s * u / (1 + (s - 1) * u)


def guide(cond: Any, uncond: Any, scale: float, convention: str = "imagen") -> Any:
    """Classifier-free guidance. imagen: `uncond + s (cond - uncond)`; causvid: `cond + s (cond - uncond)`."""
    return uncond + (scale if convention == "imagen" else scale + 1) * (cond - uncond)


def convert(prediction: Any, x: Any, t: Any, schedule: Schedule, native: str, want: str) -> Any:
    """Turn a prediction of kind `native` at `(x, t)` into `want`: x0, eps, flow = eps - x0, v = alpha eps - sigma x0.

    `t` must already broadcast against `x`. eps -> x0 where alpha = 0 is undefined and raises ZeroDivisionError
    (CogVideoX's last index): convert through v.
    """
    if want in (native, "native"):
        return prediction
    a, s = schedule.alpha(t), schedule.sigma(t)
    if native == "flow":
        x0, eps = (x - s * prediction) / (a + s), (x + a * prediction) / (a + s)
    elif native == "v":
        norm = a * a + s * s
        x0, eps = (a * x - s * prediction) / norm, (s * x + a * prediction) / norm
    elif native == "eps":
        if want != "eps" and bool((a == 0).any() if hasattr(a, "any") else a == 0):
            raise ZeroDivisionError("eps cannot be turned into x0 where alpha(t) = 0; predict v there")
        x0, eps = (x - s * prediction) / a, prediction
    elif native == "x0":
        x0, eps = prediction, (x - a * prediction) / s
    else:
        raise ValueError(f"unknown prediction kind {native!r}")
    if want == "x0":
        return x0
    if want == "eps":
        return eps
    if want == "flow":
        return eps - x0
    if want == "v":
        return a * eps - s * x0
    raise ValueError(f"unknown prediction kind {want!r}")
