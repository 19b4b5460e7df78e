"""The text-to-video U-Net adapter against diffusers' own pipeline, on a tiny random folder in the real layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import TextToVideoSDPipeline
from torch import Tensor

from harness.api import ClipSpec, UserError
from harness.backbones.unet3d import FadingPreserving, UNet3D, UNet3DConfig
from methods.supervised.sampler import MultistepCFG
from tests.backbones.pipeline_folders import tiny_unet

CPU = torch.device("cpu")
PROMPTS = ["a red square drifts left", "a blue disk spins"]
SPEC = ClipSpec(frames=5, height=64, width=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_unet(tmp_path_factory.mktemp("unet"))


@pytest.fixture(scope="module")
def unet(folder: Path) -> UNet3D:
    return UNet3D.load(UNet3DConfig(path=str(folder)), CPU)


def noise(unet: UNet3D) -> Tensor:
    return torch.randn((2, *unet.latent_shape(SPEC)), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("guidance", [1.0, 7.5])
def test_the_sampler_agrees_with_the_pipeline(unet: UNet3D, folder: Path, guidance: float) -> None:
    """Our trailing-grid DDIM and DDIMScheduler: same noise, same prompts, same latents, same pixels."""
    pipe = TextToVideoSDPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    x = noise(unet)

    def theirs(kind: str) -> Tensor:
        return pipe(
            PROMPTS, height=64, width=32, num_frames=5, num_inference_steps=5, guidance_scale=guidance,
            latents=x.clone(), output_type=kind,
        ).frames  # fmt: skip

    ours = MultistepCFG(5, guidance)(unet, x, unet.encode_text(PROMPTS))
    size = ours.abs().max().item()  # a random network amplifies: compare relative to what comes out
    torch.testing.assert_close(ours / size, theirs("latent") / size, atol=1e-5, rtol=0)
    pixels = ((unet.decode(ours) + 1) / 2).clamp(0, 1).transpose(1, 2)
    torch.testing.assert_close(pixels, theirs("pt"), atol=1e-4, rtol=0)


def test_noise_keeps_a_little_signal(unet: UNet3D) -> None:
    """Scaled-linear betas 0.00085 .. 0.012 without zero terminal SNR: alpha is positive everywhere."""
    beta = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    torch.testing.assert_close(unet.schedule.abar, torch.cumprod(1 - beta, 0), rtol=1e-12, atol=0)
    assert unet.schedule.abar[999].item() == pytest.approx(0.004660, abs=1e-6)
    assert unet.schedule.abar[0].item() == pytest.approx(1 - 0.00085, abs=1e-12)
    assert unet.native == "eps"


def test_predictions_are_one_eps(unet: UNet3D) -> None:
    x, t, cond = noise(unet), torch.tensor([0.25, 1.0]), unet.encode_text(PROMPTS)
    with torch.no_grad():
        found = {want: unet.predict(x, t, cond, want) for want in ("native", "eps", "x0", "v")}
    abar = unet.schedule.abar[[250, 999]].reshape(2, 1, 1, 1, 1)
    alpha, sigma = abar.sqrt().float(), (1 - abar).sqrt().float()
    eps = found["native"]
    assert torch.equal(found["eps"], eps)
    torch.testing.assert_close(found["x0"], (x - sigma * eps) / alpha, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["v"], alpha * eps - sigma * found["x0"], rtol=1e-4, atol=1e-4)
    assert torch.equal(unet.target(x, eps, t), eps)


def test_scale_b_fades_the_clean_latent(folder: Path) -> None:
    """VideoCrafter2's use_scale: 1 at index 0, 0.7 from index 399 on; the noise is untouched."""
    unet = UNet3D.load(UNet3DConfig(path=str(folder), scale_b=0.7), CPU)
    assert isinstance(unet.schedule, FadingPreserving)
    plain = UNet3D.load(UNet3DConfig(path=str(folder)), CPU).schedule
    t = plain.time(torch.tensor([0, 133, 399, 400, 999]))
    expected = torch.tensor([1.0, 0.9, 0.7, 0.7, 0.7], dtype=torch.float64)
    torch.testing.assert_close(unet.schedule.alpha(t) / plain.alpha(t), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(unet.schedule.sigma(t), plain.sigma(t))
    x0, eps = torch.tensor(2.0), torch.tensor(3.0)
    x = unet.schedule.add_noise(x0, eps, t[3])
    abar = plain.abar[400].item()
    assert x.item() == pytest.approx(2 * 0.7 * abar**0.5 + 3 * (1 - abar) ** 0.5, rel=1e-6)


def test_codec_works_frame_by_frame(unet: UNet3D) -> None:
    latents = noise(unet) / 4
    with torch.no_grad():
        frame = unet.pipe.vae.decode(latents[1:, :, 3] / 0.18215).sample
    pixels = unet.decode(latents)
    torch.testing.assert_close(pixels[1, :, 3], frame[0])
    assert pixels.shape == (2, 3, 5, 64, 32)
    with torch.no_grad():
        mode = unet.pipe.vae.encode(pixels[:1, :, 2]).latent_dist.mode()
    torch.testing.assert_close(unet.encode(pixels)[:1, :, 2], mode * 0.18215)
    assert torch.equal(unet.decode(latents)[:1], unet.decode(latents[:1]))
    latents.requires_grad_()
    unet.decode(latents).square().mean().backward()
    assert latents.grad is not None
    assert latents.grad.abs().sum() > 0


def test_prompts_take_77_tokens_and_the_null_is_empty(unet: UNet3D) -> None:
    cond = unet.encode_text(PROMPTS)
    assert cond.shape == (2, 77, 16)
    assert (cond[0] - cond[1]).abs().max() > 0.1
    torch.testing.assert_close(unet.null_cond(3)[2], unet.encode_text([""])[0])


def test_temporal_attention_is_the_networks_own(unet: UNet3D, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the queries and keys that reach the attention kernel of the decoder's temporal transformers."""
    from diffusers.models import attention_processor

    seen: list[tuple[Tensor, Tensor]] = []
    kernel = attention_processor.F.scaled_dot_product_attention

    def spy(query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if query.shape[2] == key.shape[2] == 5:
            seen.append((query.detach().clone(), key.detach().clone()))
        return kernel(query, key, *args, **kwargs)

    monkeypatch.setattr(attention_processor.F, "scaled_dot_product_attention", spy)
    x, t = noise(unet).requires_grad_(), torch.tensor([0.3, 0.7])
    found = unet.temporal_attention(x, t, unet.encode_text(PROMPTS))
    assert len(found) == 4
    assert next(iter(found)) == "up_blocks.1.temp_attentions.0.transformer_blocks.0.attn1"
    own = seen[-8::2]  # of every temporal transformer the first of its two self-attentions
    for attention, (query, key) in zip(found.values(), own, strict=True):
        scores = torch.einsum("nhid,nhjd->nhij", query, key) / query.shape[-1] ** 0.5
        torch.testing.assert_close(attention, scores.softmax(-1).reshape(2, -1, 5, 5))
    (grad,) = torch.autograd.grad(sum(a[..., 0].sum() for a in found.values()), x)
    assert grad.abs().sum() > 0
    assert unet.caps == UNet3D.capabilities(UNet3DConfig()) >= {"temporal_attention"}


def test_a_training_copy_draws_no_dropout(unet: UNet3D) -> None:
    student = unet.clone(trainable=True)
    student.net.train()
    x, t, cond = noise(unet), torch.tensor([0.3, 0.7]), unet.encode_text(PROMPTS)
    with torch.no_grad():
        assert torch.equal(student.predict(x, t, cond, "eps"), unet.predict(x, t, cond, "eps"))


def test_scalar_embeddings_start_silent_and_are_kept(unet: UNet3D) -> None:
    x, t, cond, w = noise(unet), torch.tensor([0.3, 0.7]), unet.encode_text(PROMPTS), torch.tensor([6.0, 9.0])
    student = unet.clone(trainable=True, embeds=("guidance", "motion"))
    with torch.no_grad():
        before = unet.predict(x, t, cond, "eps")
        assert torch.equal(student.predict(x, t, cond, "eps", embeds={"motion": w}), before)
        torch.nn.init.normal_(student.net.scalar_embeds.layers["motion"].weight)
        told = student.clone(trainable=False).predict(x, t, cond, "eps", embeds={"motion": w})
    assert (told - before).abs().max() > 1e-3


def test_clips_that_do_not_fit(unet: UNet3D) -> None:
    assert unet.latent_shape(SPEC) == (4, 5, 8, 4)
    with pytest.raises(UserError, match="multiples of 32"):
        unet.latent_shape(ClipSpec(frames=5, height=48, width=32))


def test_what_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(UserError, match="neither a folder") as caught:
        UNet3D.load(UNet3DConfig(path="nobody/no-such-unet"), CPU)
    assert caught.value.remedy == "get it with `hf download nobody/no-such-unet`"
