"""VideoCrafter2's checkpoint layout: names, the frame rate that becomes a bias, and the folder that comes out."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from diffusers import AutoencoderKL, UNet3DConditionModel
from torch import Tensor

from harness.api import ClipSpec, UserError
from harness.backbones import videocrafter as vc
from harness.backbones.unet3d import UNet3D, UNet3DConfig

CPU = torch.device("cpu")
TINY = {
    "block_out_channels": (32, 64, 64), "cross_attention_dim": 32, "attention_head_dim": 16, "layers_per_block": 2,
    "down_block_types": ("CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D"),
}  # fmt: skip
# Names of the real checkpoint (four levels of two blocks), read off the official network, and where they belong.
REAL = {
    "time_embed.2.bias": "time_embedding.linear_2.bias",
    "init_attn.0.proj_in.weight": "transformer_in.proj_in.weight",
    "input_blocks.1.0.in_layers.2.weight": "down_blocks.0.resnets.0.conv1.weight",
    "input_blocks.2.2.transformer_blocks.0.attn1.to_q.weight":
        "down_blocks.0.temp_attentions.1.transformer_blocks.0.attn1.to_q.weight",
    "input_blocks.3.0.op.weight": "down_blocks.0.downsamplers.0.conv.weight",
    "input_blocks.11.0.temopral_conv.conv4.3.bias": "down_blocks.3.temp_convs.1.conv4.3.bias",
    "middle_block.1.proj_out.weight": "mid_block.attentions.0.proj_out.weight",
    "middle_block.3.skip_connection.weight": "mid_block.resnets.1.conv_shortcut.weight",
    "output_blocks.2.1.conv.weight": "up_blocks.0.upsamplers.0.conv.weight",
    "output_blocks.5.3.conv.bias": "up_blocks.1.upsamplers.0.conv.bias",
    "output_blocks.11.2.norm.weight": "up_blocks.3.temp_attentions.2.norm.weight",
    "out.2.weight": "conv_out.weight",
}  # fmt: skip


def lvdm_names(net: UNet3DConditionModel, levels: int) -> dict[str, Tensor]:
    """A diffusers network's tensors under the checkpoint's names."""
    markers = {f"input_blocks.{3 * level + 3}.0.op.weight": torch.zeros(1) for level in range(levels - 1)}
    places = vc.block_names({**markers, f"input_blocks.{3 * levels - 1}.0.x": torch.zeros(1)})
    out = {}
    for name, value in net.state_dict().items():
        found = [(there, here) for here, there in places.items() if name.startswith(f"{there}.")]
        there, here = max(found, key=lambda pair: (len(pair[0]), _upsampled_after_resnet(pair[1])))
        value = (
            value[..., None] if name in {"transformer_in.proj_in.weight", "transformer_in.proj_out.weight"} else value
        )
        out[here + name.removeprefix(there)] = value.clone()
    return out


def _upsampled_after_resnet(here: str) -> bool:
    """Of the two places an upsampler may have, the deepest level has the first: it has no attention in between."""
    return here.endswith(".1.conv") == (here == "output_blocks.2.1.conv")


@pytest.fixture(scope="module")
def net() -> UNet3DConditionModel:
    torch.manual_seed(0)
    net = UNet3DConditionModel(**TINY).eval()
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return net


def with_rate(state: dict[str, Tensor], width: int = 32) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(3)
    shapes = {"0.weight": (4 * width, width), "0.bias": (4 * width,), "2.weight": (4 * width, 4 * width)}
    shapes["2.bias"] = (4 * width,)
    rate = {f"fps_embedding.{name}": torch.randn(shape, generator=draw) / 8 for name, shape in shapes.items()}
    return state | rate


def test_names_of_the_real_checkpoint() -> None:
    places = vc.block_names({
        **{f"input_blocks.{i}.0.op.weight": torch.zeros(1) for i in (3, 6, 9)},
        "input_blocks.11.0.in_layers.0.weight": torch.zeros(1),
    })  # fmt: skip
    for name, expected in REAL.items():
        here = max((prefix for prefix in places if name.startswith(f"{prefix}.")), key=len)
        assert places[here] + name[len(here) :] == expected


def test_every_tensor_comes_back(net: UNet3DConditionModel) -> None:
    state = lvdm_names(net, 3)
    assert "output_blocks.5.3.conv.weight" in state
    assert state["init_attn.0.proj_in.weight"].ndim == 3
    found = vc.unet_state(state, 8)
    expected = net.state_dict()
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    config = vc.unet_config(found, head_width=16)
    assert all(tuple(config[key]) == value if isinstance(value, tuple) else config[key] == value
               for key, value in TINY.items())  # fmt: skip


def test_the_frame_rate_becomes_a_bias(net: UNet3DConditionModel) -> None:
    """The converted network is the original one with `fps_embedding(8)` added to its time embedding."""
    state = with_rate(lvdm_names(net, 3))
    fixed = UNet3DConditionModel.from_config(vc.unet_config(vc.unet_state(state, 8), head_width=16)).eval()
    fixed.load_state_dict(vc.unet_state(state, 8))
    angles = 8 * torch.exp(-torch.log(torch.tensor(10000.0)) * torch.arange(16) / 16)
    wave = torch.cat([angles.cos(), angles.sin()])
    hidden = torch.nn.functional.silu(state["fps_embedding.0.weight"] @ wave + state["fps_embedding.0.bias"])
    extra = state["fps_embedding.2.weight"] @ hidden + state["fps_embedding.2.bias"]
    torch.testing.assert_close(vc.frame_rate_bias(state, 8), extra, atol=1e-5, rtol=1e-4)
    draw = torch.Generator().manual_seed(1)
    x, cond = torch.randn(2, 4, 3, 8, 8, generator=draw), torch.randn(2, 5, 32, generator=draw)
    t = torch.tensor([20, 900])
    hook = net.time_embedding.register_forward_hook(lambda _, __, out: out + extra)
    try:
        with torch.no_grad():
            expected = net(x, t, cond, return_dict=False)[0]
            found = fixed(x, t, cond, return_dict=False)[0]
    finally:
        hook.remove()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        assert (net(x, t, cond, return_dict=False)[0] - expected).abs().max() > 1e-3


def tiny_clip() -> open_clip.CLIP:
    torch.manual_seed(1)
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3}
    eye = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16, "head_width": 64}
    return open_clip.CLIP(embed_dim=16, vision_cfg=eye, text_cfg=text).eval()


def penultimate(clip: open_clip.CLIP, tokens: Tensor) -> Tensor:
    """The text tower up to its last layer but one, then the final norm, with OpenCLIP's own modules."""
    x = clip.token_embedding(tokens) + clip.positional_embedding
    for block in clip.transformer.resblocks[:-1]:
        x = block(x, attn_mask=clip.attn_mask)
    return clip.ln_final(x)


PROMPTS = ["A red square, drifting left!", "two foxes' tails?!", "ünïcode & 3d"]


def test_text_is_read_from_the_layer_before_the_last() -> None:
    clip = tiny_clip()
    net = vc.text_encoder(clip.state_dict(), head_width=16)
    tokens = open_clip.tokenize(PROMPTS)
    with torch.no_grad():
        expected = penultimate(clip, tokens)
        torch.testing.assert_close(net(tokens).last_hidden_state, expected, atol=1e-5, rtol=1e-4)
        padded = torch.where(tokens == 0, 49408, tokens)
        torch.testing.assert_close(net(padded).last_hidden_state, expected, atol=1e-5, rtol=1e-4)


def test_the_tokenizer_is_openclips() -> None:
    found = vc.tokenizer()(PROMPTS, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    assert torch.equal(torch.where(found == 49408, 0, found), open_clip.tokenize(PROMPTS))


def ldm_vae(vae: AutoencoderKL) -> dict[str, Tensor]:
    """An AutoencoderKL's tensors under latent diffusion's names (CompVis ldm/modules/diffusionmodules/model.py)."""
    out, levels = {}, len(vae.config.block_out_channels)
    attention = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out", "group_norm": "norm"}
    for name, value in vae.state_dict().items():
        for side in ("encoder", "decoder"):
            for i in range(levels):
                way, place = ("down", i) if side == "encoder" else ("up", levels - 1 - i)
                name = name.replace(f"{side}.{way}_blocks.{i}.", f"{side}.{way}.{place}.")
            for i in (0, 1):
                name = name.replace(f"{side}.mid_block.resnets.{i}.", f"{side}.mid.block_{i + 1}.")
        if "mid_block.attentions.0." in name:
            value = value[..., None, None] if name.endswith("weight") and value.ndim == 2 else value
            for new, old in attention.items():
                name = name.replace(f"mid_block.attentions.0.{new}.", f"mid.attn_1.{old}.")
        name = name.replace(".resnets.", ".block.").replace("conv_shortcut", "nin_shortcut")
        name = name.replace("downsamplers.0.", "downsample.").replace("upsamplers.0.", "upsample.")
        out[name.replace("conv_norm_out", "norm_out")] = value
    return out


def test_a_checkpoint_becomes_a_folder_the_adapter_reads(net: UNet3DConditionModel, tmp_path: Path) -> None:
    clip = tiny_clip()
    torch.manual_seed(2)
    vae = AutoencoderKL(
        block_out_channels=(32, 32, 32, 32), down_block_types=("DownEncoderBlock2D",) * 4, latent_channels=4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2,
    ).eval()  # fmt: skip
    state = {vc.UNET + name: value for name, value in with_rate(lvdm_names(net, 3)).items()}
    state |= {vc.TEXT + name: value for name, value in clip.state_dict().items()}
    state |= {vc.VAE + name: value for name, value in ldm_vae(vae).items()}
    torch.save({"state_dict": state}, tmp_path / "model.ckpt")
    vc.convert_checkpoint(tmp_path / "model.ckpt", tmp_path / "folder", 8, head_width=16)
    unet = UNet3D.load(UNet3DConfig(path=str(tmp_path / "folder")), CPU)
    with torch.no_grad():
        expected = penultimate(clip, open_clip.tokenize(PROMPTS))
        torch.testing.assert_close(unet.encode_text(PROMPTS), expected, atol=1e-5, rtol=1e-4)
        latents = torch.randn(1, 4, 2, 4, 4)
        pixels = vae.decode(latents[:, :, 1] / 0.18215).sample
        torch.testing.assert_close(unet.decode(latents)[:, :, 1], pixels, atol=1e-5, rtol=1e-4)
    assert unet.latent_shape(ClipSpec(frames=16, height=320, width=512)) == (4, 16, 40, 64)
    expected_bias = net.time_embedding.linear_2.bias + vc.frame_rate_bias(vc.under(state, vc.UNET), 8)
    torch.testing.assert_close(unet.net.time_embedding.linear_2.bias, expected_bias)


def test_other_files_are_refused(net: UNet3DConditionModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        vc.read_checkpoint(tmp_path / "missing.ckpt")
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match=r"holds no model\.diffusion_model"):
        vc.read_checkpoint(tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="label_emb"):
        vc.unet_state(lvdm_names(net, 3) | {"label_emb.0.weight": torch.zeros(1)}, 8)
