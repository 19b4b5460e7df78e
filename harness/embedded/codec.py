"""The embedded autoencoder: an orthonormal space-time patch transform fitted by PCA.

It has the interface of AutoencoderKLWan as far as WanPipeline uses it. Why no network: an AutoencoderKLWan small enough
to ship needs a GPU to reach what this reaches in seconds of PCA, and this encodes and decodes in milliseconds.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor

PATCH, GROUP = 8, 4  # pixels and frames of one latent cell
_FLOOR = -10.0  # log-variance of a deterministic code


class PatchCodec(ModelMixin, ConfigMixin):
    """Pixels `[B, 3, 1 + 4k, 8h, 8w]` in [-1, 1] to latents `[B, z_dim, 1 + k, h, w]` and back, both linear.

    A latent cell of the first frame is the PCA of its 8x8 patch; a later cell is the PCA of 4 frames of a patch:
    `static_dim` channels for the mean over the 4 frames, the rest for what changes. The bases are orthonormal up to
    the factor 1/2 that gives a still patch the same static code in the first cell and in later ones.
    """

    @register_to_config
    def __init__(
        self,
        z_dim: int = 24,
        static_dim: int = 12,
        latents_mean: list[float] | None = None,
        latents_std: list[float] | None = None,
        scale_factor_temporal: int = GROUP,
        scale_factor_spatial: int = PATCH,
        temperal_downsample: tuple[bool, ...] = (False, True, True),
    ) -> None:
        super().__init__()
        self.z_dim, self.temperal_downsample = z_dim, tuple(temperal_downsample)
        size = 3 * PATCH * PATCH
        self.register_to_config(latents_mean=latents_mean or [0.0] * z_dim, latents_std=latents_std or [1.0] * z_dim)
        self.first_mean = torch.nn.Parameter(torch.zeros(size), requires_grad=False)
        self.first_basis = torch.nn.Parameter(torch.zeros(z_dim, size), requires_grad=False)
        self.group_mean = torch.nn.Parameter(torch.zeros(GROUP * size), requires_grad=False)
        self.group_basis = torch.nn.Parameter(torch.zeros(z_dim, GROUP * size), requires_grad=False)

    def encode(self, x: Tensor, return_dict: bool = True) -> AutoencoderKLOutput | tuple[DiagonalGaussianDistribution]:
        """`x` `[B, 3, 1 + 4k, 8h, 8w]`; the posterior is a point."""
        frames, height, width = x.shape[2:]
        if (frames - 1) % GROUP or height % PATCH or width % PATCH:
            raise ValueError(f"the codec takes 4k + 1 frames of multiples of 8 pixels, not {tuple(x.shape[2:])}")
        first = (_to_patches(x[:, :, :1], 1) - self.first_mean) @ self.first_basis.T
        rest = (_to_patches(x[:, :, 1:], GROUP) - self.group_mean) @ self.group_basis.T / 2
        mean = torch.cat([first, rest], dim=1).permute(0, 4, 1, 2, 3)
        posterior = DiagonalGaussianDistribution(torch.cat([mean, torch.full_like(mean, _FLOOR)], 1), True)
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(self, z: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """`z` `[B, z_dim, 1 + k, h, w]`; values are clamped to [-1, 1] as AutoencoderKLWan does."""
        cells = z.permute(0, 2, 3, 4, 1)
        first = _to_pixels(cells[:, :1] @ self.first_basis + self.first_mean, 1)
        rest = _to_pixels(cells[:, 1:] @ self.group_basis * 2 + self.group_mean, GROUP)
        video = torch.cat([first, rest], dim=2).clamp(-1, 1)
        return DecoderOutput(sample=video) if return_dict else (video,)


def _to_patches(x: Tensor, frames: int) -> Tensor:
    """`[B, 3, n * frames, 8h, 8w]` to `[B, n, h, w, frames * 192]`."""
    b, c, f, height, width = x.shape
    h, w = height // PATCH, width // PATCH
    x = x.reshape(b, c, f // frames, frames, h, PATCH, w, PATCH)
    return x.permute(0, 2, 4, 6, 3, 1, 5, 7).reshape(b, f // frames, h, w, frames * c * PATCH * PATCH)


def _to_pixels(cells: Tensor, frames: int) -> Tensor:
    """Inverse of `_to_patches`."""
    b, n, h, w, _ = cells.shape
    cells = cells.reshape(b, n, h, w, frames, 3, PATCH, PATCH)
    return cells.permute(0, 5, 1, 4, 2, 6, 3, 7).reshape(b, 3, n * frames, h * PATCH, w * PATCH)


def fit_codec(video: Tensor, z_dim: int, static_dim: int, whiten: float) -> PatchCodec:
    """Fit to `video` `[N, 3, 1 + 4k, 8h, 8w]` in [-1, 1].

    Args:
        whiten: how far `latents_std` follows the spectrum: 0 one scale for all channels, 1 unit variance for each.
    """
    first = _to_patches(video[:, :, :1], 1).flatten(0, 3).double().numpy()
    groups = _to_patches(video[:, :, 1:], GROUP).flatten(0, 3).double().numpy()
    stills = groups.reshape(len(groups), GROUP, -1).mean(1)
    spatial = PCA(z_dim, svd_solver="covariance_eigh").fit(np.concatenate([first, stills]))
    static = np.tile(spatial.components_[:static_dim], GROUP) / np.sqrt(GROUP)  # orthonormal rows
    groups -= np.tile(spatial.mean_, GROUP)
    for rows in np.array_split(groups, 100):  # in place: these are gigabytes
        rows -= rows @ static.T @ static
    residual = PCA(z_dim - static_dim, svd_solver="covariance_eigh").fit(groups)
    codec = PatchCodec(z_dim, static_dim)
    _assign(codec.first_mean, spatial.mean_)
    _assign(codec.first_basis, spatial.components_)
    _assign(codec.group_mean, np.tile(spatial.mean_, GROUP))
    _assign(codec.group_basis, np.concatenate([static, residual.components_]))
    mean, std = _scales(codec.encode(video).latent_dist.mode(), whiten)
    codec.register_to_config(latents_mean=mean, latents_std=std)
    return codec


def _assign(parameter: torch.nn.Parameter, value: NDArray[np.float64]) -> None:
    parameter.data.copy_(torch.from_numpy(value))


def _scales(latents: Tensor, whiten: float) -> tuple[list[float], list[float]]:
    """Per-channel mean and divisor that give the normalised latents unit variance on the whole."""
    flat = latents.transpose(0, 1).flatten(1).double()
    natural = flat.std(1)
    divisor = natural**whiten
    divisor *= (natural / divisor).square().mean().sqrt()
    return flat.mean(1).tolist(), divisor.tolist()
