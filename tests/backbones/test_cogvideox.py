"""The CogVideoX adapter against diffusers' own pipeline, on tiny random folders in the real layout."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXPipeline
from torch import Tensor

from harness.api import ClipSpec, UserError
from harness.backbones.cogvideox import CogVideoX, CogVideoXConfig
from methods.supervised.sampler import MultistepCFG
from tests.backbones.pipeline_folders import tiny_cogvideox

CPU = torch.device("cpu")
PROMPTS = ["a red square drifts left", "a blue disk spins"]
SPEC = ClipSpec(frames=9, height=32, width=48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cogvideox(tmp_path_factory.mktemp("cogvideox"))


@pytest.fixture(scope="module")
def cog(folder: Path) -> CogVideoX:
    return CogVideoX.load(CogVideoXConfig(path=str(folder)), CPU)


def noise(cog: CogVideoX, spec: ClipSpec = SPEC) -> Tensor:
    return torch.randn((2, *cog.latent_shape(spec)), generator=torch.Generator().manual_seed(1))


def official(folder: Path, x: Tensor, spec: ClipSpec, steps: int, guidance: float, kind: str) -> Tensor:
    """CogVideoXPipeline from the same folder and noise: latents or pixels, `[B, C, F, H, W]`."""
    pipe = CogVideoXPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    found = pipe(
        PROMPTS, height=spec.height, width=spec.width, num_frames=spec.frames, num_inference_steps=steps,
        guidance_scale=guidance, latents=x.transpose(1, 2).clone(), output_type=kind,
    ).frames  # fmt: skip
    return found.transpose(1, 2)


@pytest.mark.parametrize("guidance", [1.0, 6.0])
def test_the_sampler_agrees_with_the_pipeline(cog: CogVideoX, folder: Path, guidance: float) -> None:
    """Our trailing-grid DDIM and CogVideoXDDIMScheduler: same noise, same prompts, same latents, same pixels."""
    x = noise(cog)
    ours = MultistepCFG(10, guidance)(cog, x, cog.encode_text(PROMPTS))
    theirs = official(folder, x, SPEC, 10, guidance, "latent")
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
    pixels = official(folder, x, SPEC, 10, guidance, "pt")
    torch.testing.assert_close(((cog.decode(ours) + 1) / 2).clamp(0, 1), pixels, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "spec"),
    [
        ({"use_rotary_positional_embeddings": False, "snr_shift_scale": 3.0}, SPEC),  # 2B
        ({"patch_size_t": 2, "patch_bias": False}, ClipSpec(frames=13, height=48, width=32)),  # 1.5
    ],
    ids=["2b", "1.5"],
)
def test_relatives_agree_with_the_pipeline(tmp_path: Path, changes: dict[str, Any], spec: ClipSpec) -> None:
    folder = tiny_cogvideox(tmp_path, **changes)
    cog = CogVideoX.load(CogVideoXConfig(path=str(folder)), CPU)
    x = noise(cog, spec)
    ours = MultistepCFG(4, 6.0)(cog, x, cog.encode_text(PROMPTS))
    torch.testing.assert_close(ours, official(folder, x, spec, 4, 6.0, "latent"), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_noise_ends_at_zero_signal(tmp_path: Path, scale: float) -> None:
    """Scaled-linear betas 0.00085 .. 0.012, SNR divided by 1 (5B) or 3 (2B), then shifted to end at exactly 0."""
    cog = CogVideoX.load(CogVideoXConfig(path=str(tiny_cogvideox(tmp_path, snr_shift_scale=scale))), CPU)
    beta = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    plain = torch.cumprod(1 - beta, 0)
    snr = plain / (1 - plain) / scale
    root = (snr / (1 + snr)).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    torch.testing.assert_close(cog.schedule.abar, root**2, rtol=1e-10, atol=1e-14)
    assert cog.schedule.abar[999] == 0
    assert cog.schedule.alpha(torch.tensor(1.0)) == 0
    theirs = CogVideoXDDIMScheduler.from_config(cog.pipe.scheduler.config).alphas_cumprod
    torch.testing.assert_close(cog.schedule.abar, theirs.double(), rtol=1e-10, atol=1e-14)
    assert cog.schedule.abar[500].item() == pytest.approx({1.0: 0.241019, 3.0: 0.095328}[scale], abs=1e-6)


def test_the_network_gets_the_index(cog: CogVideoX) -> None:
    """min(floor(1000 t), 999), never a descending table: t near 1 is noise."""
    seen: list[Tensor] = []
    hook = cog.net.register_forward_pre_hook(lambda _, __, kw: seen.append(kw["timestep"].clone()), with_kwargs=True)
    try:
        with torch.no_grad():
            for t in ((0.80123, 0.0), (1.0, 0.502)):
                cog.predict(noise(cog), torch.tensor(t, dtype=torch.float64), cog.null_cond(2), "v")
    finally:
        hook.remove()
    assert [s.tolist() for s in seen] == [[801, 0], [999, 502]]


def test_predictions_are_one_v(cog: CogVideoX) -> None:
    x, t, cond = noise(cog), torch.tensor([0.25, 0.9999]), cog.encode_text(PROMPTS)
    with torch.no_grad():
        found = {want: cog.predict(x, t, cond, want) for want in ("native", "v", "x0", "eps", "flow")}
    abar = cog.schedule.abar[[250, 999]].reshape(2, 1, 1, 1, 1)
    alpha, sigma = abar.sqrt().float(), (1 - abar).sqrt().float()
    v = found["native"]
    assert torch.equal(found["v"], v)
    torch.testing.assert_close(found["x0"], alpha * x - sigma * v)
    torch.testing.assert_close(found["eps"], sigma * x + alpha * v)
    torch.testing.assert_close(found["flow"], found["eps"] - found["x0"])
    torch.testing.assert_close(found["x0"][1], -v[1])  # no signal is left: alpha = 0


def test_target_is_v(cog: CogVideoX) -> None:
    x0, eps = torch.full((1, 1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1, 1), 5.0)
    alpha = cog.schedule.abar[300].sqrt().item()
    expected = 5 * alpha - 2 * (1 - alpha**2) ** 0.5
    assert cog.target(x0, eps, torch.tensor([0.3005])).item() == pytest.approx(expected, rel=1e-6)
    assert cog.target(x0, eps, torch.tensor([0.9999])).item() == -2


def test_codec_scales_latents(cog: CogVideoX) -> None:
    latents = noise(cog) / 2
    with torch.no_grad():
        pixels = cog.pipe.vae.decode(latents / 0.7).sample
        posterior = cog.pipe.vae.encode(pixels).latent_dist.mode()
    torch.testing.assert_close(cog.decode(latents), pixels)
    torch.testing.assert_close(cog.encode(pixels), posterior * 0.7)
    assert cog.encode(pixels).shape == (2, *cog.latent_shape(SPEC))
    latents.requires_grad_()
    cog.decode(latents).square().mean().backward()
    assert latents.grad is not None
    assert latents.grad.abs().sum() > 0


def test_prompts_take_226_tokens_and_the_null_is_empty(cog: CogVideoX) -> None:
    cond = cog.encode_text(PROMPTS)
    assert cond.shape == (2, 226, 16)
    assert (cond[0] - cond[1]).abs().max() > 0.1
    torch.testing.assert_close(cog.null_cond(3)[2], cog.encode_text([""])[0])


def test_clips_that_do_not_fit(cog: CogVideoX, tmp_path: Path) -> None:
    assert cog.latent_shape(SPEC) == (4, 3, 4, 6)
    for wrong in (ClipSpec(frames=10, height=32, width=32), ClipSpec(frames=9, height=40, width=32)):
        with pytest.raises(UserError, match="do not fit"):
            cog.latent_shape(wrong)
    paired = CogVideoX.load(CogVideoXConfig(path=str(tiny_cogvideox(tmp_path, patch_size_t=2))), CPU)
    assert paired.latent_shape(ClipSpec(frames=13, height=32, width=32)) == (4, 4, 4, 4)
    with pytest.raises(UserError, match="do not fit"):
        paired.latent_shape(ClipSpec(frames=9, height=32, width=32))


def test_temporal_attention_is_the_networks_own(cog: CogVideoX, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the queries and keys that reach the attention kernel: video tokens of one position, over frames."""
    from diffusers.models import attention_processor

    seen: list[tuple[Tensor, Tensor]] = []
    kernel = attention_processor.F.scaled_dot_product_attention

    def spy(query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        seen.append((query.detach().clone(), key.detach().clone()))
        return kernel(query, key, *args, **kwargs)

    monkeypatch.setattr(attention_processor.F, "scaled_dot_product_attention", spy)
    x, t, cond = noise(cog).requires_grad_(), torch.tensor([0.3, 0.7]), cog.encode_text(PROMPTS)
    found = cog.temporal_attention(x, t, cond)
    assert list(found) == ["transformer_blocks.0.attn1", "transformer_blocks.1.attn1"]
    seen = [pair for pair in seen if pair[0].shape[2] == 226 + 3 * 6]  # not the text encoder's
    for attention, (query, key) in zip(found.values(), seen, strict=True):
        assert attention.shape == (2, 2 * 6, 3, 3)
        query, key = (z[:, :, 226:].reshape(2, 2, 3, 6, 16) for z in (query, key))
        scores = torch.einsum("bhipd,bhjpd->bhpij", query, key) / 16**0.5
        torch.testing.assert_close(attention, scores.softmax(-1).reshape(2, 12, 3, 3))
    (grad,) = torch.autograd.grad(sum(a[..., 0].sum() for a in found.values()), x)
    assert grad.abs().sum() > 0
    assert cog.caps >= {"temporal_attention", "decode_grad"}
    assert cog.caps == CogVideoX.capabilities(CogVideoXConfig())


def test_scalar_embeddings_start_silent_and_are_kept(cog: CogVideoX) -> None:
    x, t, cond, w = noise(cog), torch.tensor([0.3, 0.7]), cog.encode_text(PROMPTS), torch.tensor([6.0, 9.0])
    student = cog.clone(trainable=True, embeds=("guidance", "motion"))
    with torch.no_grad():
        before = cog.predict(x, t, cond, "v")
        assert torch.equal(student.predict(x, t, cond, "v", embeds={"guidance": w}), before)
        torch.nn.init.normal_(student.net.scalar_embeds.layers["guidance"].weight)
        told = student.clone(trainable=False).predict(x, t, cond, "v", embeds={"guidance": w})
        assert (told - before).abs().max() > 1e-4
        assert torch.equal(cog.predict(x, t, cond, "v"), before)
    with pytest.raises(TypeError, match="embeds no scalars"):
        cog.predict(x, t, cond, "v", embeds={"guidance": w})


def test_bfloat16_keeps_the_codec_in_float32(folder: Path) -> None:
    cog = CogVideoX.load(CogVideoXConfig(path=str(folder), dtype="bfloat16"), CPU)
    assert (cog.net.dtype, cog.pipe.vae.dtype, cog.pipe.text_encoder.dtype) == (
        torch.bfloat16,
        torch.float32,
        torch.bfloat16,
    )
    exact = CogVideoX.load(CogVideoXConfig(path=str(folder)), CPU)
    with torch.no_grad():
        rough, fine = (c.predict(noise(c), torch.tensor([0.5, 0.9]), c.encode_text(PROMPTS), "v") for c in (cog, exact))
    assert rough.dtype == torch.float32
    assert (rough - fine).std() < 0.05 * fine.std()


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a folder") as caught:
        CogVideoX.load(CogVideoXConfig(path="THUDM/no-such-model", revision="abc"), CPU)
    assert caught.value.remedy == "get it with `hf download THUDM/no-such-model --revision abc`"
    (tmp_path / "model_index.json").write_text('{"_class_name": "WanPipeline"}')
    with pytest.raises(UserError, match="holds a WanPipeline, not a CogVideoXPipeline"):
        CogVideoX.load(CogVideoXConfig(path=str(tmp_path)), CPU)
    learned = tiny_cogvideox(tmp_path / "i2v", ofs_embed_dim=8)
    with pytest.raises(UserError, match="image-to-video"):
        CogVideoX.load(CogVideoXConfig(path=str(learned)), CPU)


@pytest.mark.skipif(importlib.util.find_spec("sentencepiece") is not None, reason="sentencepiece is installed")
def test_a_sentencepiece_tokenizer_says_what_it_needs(tmp_path: Path) -> None:
    folder = tiny_cogvideox(tmp_path)
    (folder / "tokenizer" / "tokenizer.json").rename(folder / "tokenizer" / "spiece.model")
    with pytest.raises(UserError, match="needs the package sentencepiece"):
        CogVideoX.load(CogVideoXConfig(path=str(folder)), CPU)


def test_digest_follows_bytes_and_options(folder: Path, tmp_path: Path) -> None:
    config = CogVideoXConfig(path=str(folder))
    assert CogVideoX.digest(config) == CogVideoX.digest(CogVideoXConfig(path=str(folder)))
    assert CogVideoX.digest(config) != CogVideoX.digest(CogVideoXConfig(path=str(folder), negative_prompt="blur"))
    assert CogVideoX.digest(config) != CogVideoX.digest(CogVideoXConfig(path=str(tiny_cogvideox(tmp_path, seed=1))))
