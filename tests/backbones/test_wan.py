"""The Wan adapter against WanPipeline itself, on a tiny random folder in the real layout and on the embedded one."""

import copy
import itertools
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline

from harness.api import ClipSpec, UserError
from harness.backbones.wan import NEGATIVE_PROMPT, Wan, WanConfig, quiet
from harness.backbones.wan_folder import EMBEDDED
from tests.backbones.wan_folders import tiny_wan

CPU = torch.device("cpu")
PROMPTS = ["a red square drifts left", "a blue disk spins"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_wan(tmp_path_factory.mktemp("wan"))


@pytest.fixture(scope="module", params=["tiny", "embedded"])
def wan(request: pytest.FixtureRequest, folder: Path) -> Wan:
    path = str(folder) if request.param == "tiny" else "embedded"
    return Wan.load(WanConfig(path=path, max_sequence_length=48), CPU)


def noise(wan: Wan, n: int = 2, frames: int = 9, size: int = 32) -> torch.Tensor:
    shape = wan.latent_shape(ClipSpec(frames=frames, height=size, width=size))
    return torch.randn((n, *shape), generator=torch.Generator().manual_seed(1))


def pipeline(wan: Wan) -> WanPipeline:
    """A WanPipeline of the same components, with diffusers' own attention."""
    from diffusers.models.transformers.transformer_wan import WanAttnProcessor

    net = copy.deepcopy(wan.net)
    net.set_attn_processor(WanAttnProcessor())
    parts = {**wan.pipe.components, "transformer": net, "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0)}
    pipe = WanPipeline(**{k: v for k, v in parts.items() if k not in ("boundary_ratio", "expand_timesteps")})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_predictions_are_one_flow(wan: Wan) -> None:
    x, t = noise(wan), torch.tensor([0.25, 0.8])
    cond = wan.encode_text(PROMPTS)
    with torch.no_grad():
        found = {want: wan.predict(x, t, cond, want) for want in ("native", "flow", "x0", "eps", "v")}
    s = t.reshape(-1, 1, 1, 1, 1)
    flow = found["native"]
    assert torch.equal(found["flow"], flow)
    torch.testing.assert_close(found["x0"], x - s * flow)
    torch.testing.assert_close(found["eps"], x + (1 - s) * flow)
    torch.testing.assert_close((1 - s) * found["x0"] + s * found["eps"], x)
    torch.testing.assert_close(found["v"], (1 - s) * found["eps"] - s * found["x0"])


def test_target_is_eps_minus_x0(wan: Wan) -> None:
    x0, eps = torch.full((1, 1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1, 1), 5.0)
    assert wan.target(x0, eps, torch.tensor([0.3])).item() == 3.0


def test_network_time_is_1000_t(wan: Wan) -> None:
    """No table, no rounding, no reversal: t near 1 is noise and reaches the network as nearly 1000."""
    seen = []
    hook = wan.net.register_forward_pre_hook(lambda _, __, kw: seen.append(kw["timestep"].clone()), with_kwargs=True)
    try:
        with torch.no_grad():
            wan.predict(noise(wan), torch.tensor([0.80123, 0.001], dtype=torch.float64), wan.null_cond(2), "flow")
    finally:
        hook.remove()
    torch.testing.assert_close(seen[0], torch.tensor([801.23, 1.0]))


def test_sigma_is_t(wan: Wan) -> None:
    """The sigma that noises a latent is the t a time law drew (O-TQD6's trap: a descending table gives 1 - t)."""
    t = torch.distributions.Beta(3.2, 0.8).sample((20000,)).double()
    noised = wan.schedule.add_noise(torch.zeros(20000, dtype=torch.float64), torch.ones(20000, dtype=torch.float64), t)
    assert torch.equal(noised, t)
    assert noised.mean().item() == pytest.approx(0.8, abs=0.006)


def test_text_is_padded_with_zeros_after_its_end(wan: Wan) -> None:
    cond = wan.encode_text(PROMPTS)
    assert cond.shape[:2] == (2, 48)
    for row, prompt in zip(cond, PROMPTS, strict=True):
        ids = wan.pipe.tokenizer(prompt, return_tensors="pt").input_ids
        expected = wan.pipe.text_encoder(ids).last_hidden_state[0]
        torch.testing.assert_close(row[: len(expected)], expected, atol=1e-5, rtol=1e-4)
        assert len(expected) == len(prompt.split()) + 1  # </s>
        assert not row[len(expected) :].any()


def test_null_condition_is_the_negative_prompt(wan: Wan, folder: Path) -> None:
    torch.testing.assert_close(wan.null_cond(3)[2], wan.encode_text([wan.negative_prompt])[0])
    assert Wan.load(WanConfig(path=str(folder)), CPU).negative_prompt == NEGATIVE_PROMPT
    assert Wan.load(WanConfig(), CPU).negative_prompt == ""
    assert Wan.load(WanConfig(negative_prompt="blue"), CPU).negative_prompt == "blue"


def test_codec_is_normalised_as_in_the_pipeline(wan: Wan) -> None:
    """WanPipeline's own decoding of latents, and the inverse of its normalisation when encoding."""
    latents = noise(wan) / 4
    pipe = pipeline(wan)
    ours = wan.decode(latents)
    mean, std = (
        torch.tensor(v).reshape(1, -1, 1, 1, 1) for v in (pipe.vae.config.latents_mean, pipe.vae.config.latents_std)
    )
    with torch.no_grad():
        theirs = pipe.vae.decode(latents / (1.0 / std) + mean, return_dict=False)[0]
        posterior = pipe.vae.encode(theirs).latent_dist.mode()
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(wan.encode(theirs), (posterior - mean) * (1.0 / std), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_pipeline_sampling_agrees(wan: Wan, guidance: float) -> None:
    """WanPipeline with its Euler scheduler (shift 3) and ours: same noise, same guidance, same grid, same pixels."""
    pipe, x = pipeline(wan), noise(wan)
    theirs = pipe(
        PROMPTS, negative_prompt=[wan.negative_prompt] * 2, height=32, width=32, num_frames=9, num_inference_steps=6,
        guidance_scale=guidance, latents=x.clone(), max_sequence_length=48, output_type="pt",
    ).frames  # fmt: skip
    sigmas = pipe.scheduler.sigmas
    cond, null = wan.encode_text(PROMPTS), wan.null_cond(2)
    with torch.no_grad():
        for t, s in itertools.pairwise(sigmas):
            flow = wan.predict(x, t.expand(2), cond, "flow")
            base = wan.predict(x, t.expand(2), null, "flow")
            flow = base + guidance * (flow - base)
            x = wan.schedule.step(x - t * flow, x + (1 - t) * flow, s)
        ours = ((wan.decode(x) + 1) / 2).clamp(0, 1).transpose(1, 2)
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)


def test_from_pretrained_reads_the_embedded_folder_too() -> None:
    with quiet():
        pipe = WanPipeline.from_pretrained(EMBEDDED)
    assert type(pipe.vae).__name__ == "PatchCodec"
    assert pipe.tokenizer.model_max_length == 48


def test_decode_passes_gradients(wan: Wan) -> None:
    latents = (noise(wan, 1) / 10).requires_grad_()
    wan.decode(latents).square().mean().backward()
    assert latents.grad is not None
    assert latents.grad.abs().sum() > 0
    assert "decode_grad" in wan.caps == Wan.capabilities(WanConfig())


def test_clone_has_its_own_network_only(wan: Wan) -> None:
    frozen, student = wan.clone(trainable=False), wan.clone(trainable=True)
    assert frozen.pipe is wan.pipe
    assert not any(p.requires_grad for p in frozen.net.parameters())
    assert all(p.requires_grad for p in student.net.parameters())
    with torch.no_grad():
        next(student.net.parameters()).add_(1)
    x, t, cond = noise(wan), torch.tensor([0.5, 0.5]), wan.null_cond(2)
    with torch.no_grad():
        assert torch.equal(frozen.predict(x, t, cond, "x0"), wan.predict(x, t, cond, "x0"))
        assert not torch.equal(student.predict(x, t, cond, "x0"), wan.predict(x, t, cond, "x0"))


def test_latent_shape() -> None:
    wan = Wan.load(WanConfig(), CPU)
    assert wan.latent_shape(ClipSpec()) == (24, 5, 8, 8)
    assert wan.encode(torch.zeros(1, 3, 17, 64, 64)).shape == (1, 24, 5, 8, 8)
    for wrong in (ClipSpec(frames=16), ClipSpec(height=72)):
        with pytest.raises(UserError, match="do not fit"):
            wan.latent_shape(wrong)


def test_bfloat16_keeps_the_codec_in_float32(folder: Path) -> None:
    wan = Wan.load(WanConfig(path=str(folder), dtype="bfloat16"), CPU)
    assert (wan.net.patch_embedding.weight.dtype, wan.pipe.vae.dtype) == (torch.bfloat16, torch.float32)
    exact = Wan.load(WanConfig(path=str(folder)), CPU)
    x, t = noise(wan), torch.tensor([0.5, 0.9])
    with torch.no_grad():
        rough, fine = (w.predict(x, t, w.encode_text(PROMPTS), "flow") for w in (wan, exact))
    assert rough.dtype == torch.float32
    assert (rough - fine).std() < 0.05 * fine.std()


@pytest.mark.parametrize(
    "missing",
    [
        "transformer/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "tokenizer/tokenizer.json",
        "model_index.json",
    ],
)
def test_missing_file_is_named(folder: Path, tmp_path: Path, missing: str) -> None:
    part = tmp_path / "part"
    shutil.copytree(folder, part)
    (part / missing).unlink()
    with pytest.raises(UserError, match=missing) as caught:
        Wan.load(WanConfig(path=str(part)), CPU)
    assert f"--local-dir {part}" in caught.value.remedy


def test_missing_shard_is_named(folder: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    shutil.copytree(folder, part)
    weights = part / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    index = weights.with_name(weights.name + ".index.json")
    index.write_text('{"weight_map": {"a": "part-1.safetensors"}}')
    with pytest.raises(UserError, match=r"part-1\.safetensors is missing"):
        Wan.load(WanConfig(path=str(part)), CPU)


def test_hub_model_that_is_not_here() -> None:
    config = WanConfig(path="nobody/no-such-wan", revision="abc")
    with pytest.raises(UserError, match="neither a folder") as caught:
        Wan.load(config, CPU)
    assert caught.value.remedy == "get it with `hf download nobody/no-such-wan --revision abc`"
    assert Wan.digest(config) != Wan.digest(WanConfig(path="nobody/no-such-wan"))


def test_other_pipelines_are_refused(folder: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    shutil.copytree(folder, part)
    index = part / "model_index.json"
    text = index.read_text()
    index.write_text(text.replace('"WanPipeline"', '"WanImageToVideoPipeline"'))
    with pytest.raises(UserError, match="not a WanPipeline"):
        Wan.load(WanConfig(path=str(part)), CPU)
    index.write_text(text.replace('"expand_timesteps": false', '"expand_timesteps": true'))
    with pytest.raises(UserError, match=r"Wan2\.2"):
        Wan.load(WanConfig(path=str(part)), CPU)
    index.write_text("{")
    with pytest.raises(UserError, match="damaged"):
        Wan.load(WanConfig(path=str(part)), CPU)


def test_digest_follows_every_byte(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    part = tmp_path / "part"
    shutil.copytree(folder, part)
    config = WanConfig(path=str(part))
    before = Wan.digest(config)
    assert before == Wan.digest(WanConfig(path=str(folder)))  # not the place
    (part / "README.md").write_text("a card")
    assert Wan.digest(config) == before
    weights = part / "transformer" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert Wan.digest(config) != before
    assert Wan.digest(WanConfig(path=str(folder), negative_prompt="x")) != before
    assert Wan.digest(WanConfig(path=str(folder), dtype="bfloat16")) != before
