"""The patch codec: a linear isometry per latent cell, and what the shipped one keeps of held-out clips."""

import pytest
import torch

from harness.backbones.wan_folder import EMBEDDED
from harness.embedded.codec import PatchCodec, fit_codec
from harness.embedded.corpus import frames


@pytest.fixture(scope="module")
def shipped() -> PatchCodec:
    return PatchCodec.from_pretrained(EMBEDDED / "vae")


@pytest.fixture(scope="module")
def fitted() -> PatchCodec:
    return fit_codec(frames(5, "train", range(24)), z_dim=12, static_dim=5, whiten=0.5)


def code(codec: PatchCodec, video: torch.Tensor) -> torch.Tensor:
    return codec.encode(video).latent_dist.mode()


def test_bases_are_orthonormal(fitted: PatchCodec) -> None:
    eye = torch.eye(12)
    torch.testing.assert_close(fitted.first_basis @ fitted.first_basis.T, eye, atol=1e-5, rtol=0)
    torch.testing.assert_close(fitted.group_basis @ fitted.group_basis.T, eye, atol=1e-5, rtol=0)


def test_encode_undoes_decode(fitted: PatchCodec) -> None:
    z = torch.randn(2, 12, 3, 2, 4, generator=torch.Generator().manual_seed(0)) / 20  # small: nothing is clamped
    video = fitted.decode(z).sample
    assert video.shape == (2, 3, 9, 16, 32)
    torch.testing.assert_close(code(fitted, video), z, atol=1e-5, rtol=0)


def test_a_still_clip_has_one_static_code(fitted: PatchCodec) -> None:
    image = frames(5, "train", range(1))[:, :, :1]
    z = code(fitted, image.expand(-1, -1, 9, -1, -1))
    torch.testing.assert_close(z[:, :5, 1], z[:, :5, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(z[:, :, 2], z[:, :, 1], atol=1e-4, rtol=0)


def test_patches_stay_in_place(fitted: PatchCodec) -> None:
    """Changing the pixels of one 8x8 patch in frames 5 to 8 changes exactly one latent cell."""
    video = frames(5, "train", range(1))
    other = video.clone()
    other[:, :, 5:9, 16:24, 40:48] += 0.5
    moved = (code(fitted, other) - code(fitted, video)).abs().amax(1)[0]
    assert (moved > 1e-4).nonzero().tolist() == [[2, 2, 5]]


def test_normalised_latents_have_unit_variance(fitted: PatchCodec) -> None:
    z = code(fitted, frames(5, "train", range(24))).transpose(0, 1).flatten(1)
    mean, std = (torch.tensor(v)[:, None] for v in (fitted.config.latents_mean, fitted.config.latents_std))
    normalised = (z - mean) / std
    assert normalised.square().mean().item() == pytest.approx(1.0, abs=1e-3)
    assert normalised.mean(1).abs().max() < 1e-3
    spread = normalised.std(1)  # half whitened: deviations go with the square root of the natural ones
    torch.testing.assert_close(spread**2 / z.std(1), (spread[0] ** 2 / z.std(1)[0]).expand(12), atol=0, rtol=1e-2)


def test_shipped_codec_keeps_held_out_clips(shipped: PatchCodec) -> None:
    video = frames(99, "heldout", range(64))
    error = (shipped.decode(code(shipped, video)).sample - video).square().mean()
    assert 10 * torch.log10(4 / error) >= 30.0  # dB, peak to peak 2


def test_shipped_codec_takes_other_sizes(shipped: PatchCodec) -> None:
    video = torch.zeros(1, 3, 5, 32, 48)
    z = code(shipped, video)
    assert z.shape == (1, 24, 2, 4, 6)
    assert shipped.decode(z).sample.shape == video.shape
    with pytest.raises(ValueError, match="4k \\+ 1"):
        shipped.encode(torch.zeros(1, 3, 4, 32, 32))


def test_save_and_load(fitted: PatchCodec, tmp_path: object) -> None:
    fitted.save_pretrained(str(tmp_path))
    again = PatchCodec.from_pretrained(str(tmp_path))
    assert again.config.latents_std == fitted.config.latents_std
    for a, b in zip(fitted.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
