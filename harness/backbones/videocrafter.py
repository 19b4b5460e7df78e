"""VideoCrafter2's released checkpoint as a folder that the `unet3d` adapter reads.

`python -m harness.backbones.videocrafter model.ckpt FOLDER --fps 8`

Its U-Net (AILab-CVC/VideoCrafter, lvdm/modules/networks/openaimodel3d.py) is ModelScope's, hence diffusers'
UNet3DConditionModel, under other names, plus an embedding of the frame rate that is added to the time embedding. At one
rate that embedding is a constant vector: it becomes part of the last bias of the time embedding, exactly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.errors import UserError

UNET, TEXT, VAE = "model.diffusion_model.", "cond_stage_model.model.", "first_stage_model."
HEAD_WIDTH = 64  # of the U-Net's and the text encoder's attention heads (configs/inference_t2v_512_v2.0.yaml)
PAD = "<|pad|>"
RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "init_attn.0": "transformer_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


def under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


# ---- the U-Net -------------------------------------------------------------------------------------------------


def block_names(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Prefix of every block in the checkpoint to its prefix in diffusers, for any number of levels."""
    inputs = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("input_blocks."))
    levels = 1 + sum(name.endswith(".0.op.weight") for name in state)
    depth = inputs // levels - 1  # blocks a level; each level but the last ends in a downsampler, block 0 is conv_in
    names = dict(ENDS)
    for level in range(levels):
        for j in range(depth):
            names |= _block(f"input_blocks.{1 + level * (depth + 1) + j}", f"down_blocks.{level}", j)
        names[f"input_blocks.{(level + 1) * (depth + 1)}.0.op"] = f"down_blocks.{level}.downsamplers.0.conv"
        for j in range(depth + 1):
            names |= _block(f"output_blocks.{level * (depth + 1) + j}", f"up_blocks.{level}", j)
        last = f"output_blocks.{level * (depth + 1) + depth}"
        for place in (1, 3):  # after the resnet, or after both attentions
            names[f"{last}.{place}.conv"] = f"up_blocks.{level}.upsamplers.0.conv"
    names |= _block("middle_block", "mid_block", 0)
    return names | _resnet("middle_block.3", "mid_block", 1)


def _block(here: str, there: str, j: int) -> dict[str, str]:
    attentions = {f"{here}.1": f"{there}.attentions.{j}", f"{here}.2": f"{there}.temp_attentions.{j}"}
    return _resnet(f"{here}.0", there, j) | attentions


def _resnet(here: str, there: str, j: int) -> dict[str, str]:
    names = {f"{here}.{old}": f"{there}.resnets.{j}.{new}" for old, new in RESNET.items()}
    return names | {f"{here}.temopral_conv": f"{there}.temp_convs.{j}"}  # their spelling


def frame_rate_bias(state: Mapping[str, Tensor], fps: float) -> Tensor:
    """W2 silu(W1 [cos, sin](fps) + b1) + b2: what `fps_embedding` adds to every time embedding at one rate."""
    from diffusers.models.embeddings import get_timestep_embedding

    first = state["fps_embedding.0.weight"]
    rate = get_timestep_embedding(torch.tensor([fps]), first.shape[1], flip_sin_to_cos=True, downscale_freq_shift=0)
    hidden = torch.nn.functional.silu(rate.to(first) @ first.T + state["fps_embedding.0.bias"])
    return (hidden @ state["fps_embedding.2.weight"].T + state["fps_embedding.2.bias"])[0]


def unet_state(state: Mapping[str, Tensor], fps: float) -> dict[str, Tensor]:
    """The U-Net's tensors under diffusers' names, its frame rate fixed. UserError for a name that has no place."""
    places = sorted(block_names(state).items(), key=lambda pair: -len(pair[0]))
    out = {}
    for name, value in state.items():
        if name.startswith("fps_embedding."):
            continue
        found = next((there + name[len(here) :] for here, there in places if name.startswith(f"{here}.")), None)
        if found is None:
            raise UserError(f"the checkpoint's {name} has no place in this U-Net", "is it VideoCrafter2's model.ckpt?")
        out[found] = value.squeeze(-1) if name.startswith("init_attn.") and value.ndim == 3 else value
    if "fps_embedding.0.weight" in state:
        out["time_embedding.linear_2.bias"] = out["time_embedding.linear_2.bias"] + frame_rate_bias(state, fps)
    return out


def unet_config(state: Mapping[str, Tensor], head_width: int = HEAD_WIDTH) -> dict[str, Any]:
    """The configuration of the UNet3DConditionModel that `unet_state`'s tensors (by diffusers' names) fit."""
    levels = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("down_blocks."))
    crossed = [f"down_blocks.{i}.attentions.0.norm.weight" in state for i in range(levels)]
    text = next(v for name, v in state.items() if re.match(r"mid_block\.attentions\..*attn2\.to_k\.weight", name))
    return {
        "in_channels": state["conv_in.weight"].shape[1],
        "out_channels": state["conv_out.weight"].shape[0],
        "block_out_channels": [state[f"down_blocks.{i}.resnets.0.conv2.weight"].shape[0] for i in range(levels)],
        "layers_per_block": sum(bool(re.fullmatch(r"down_blocks\.0\.resnets\.\d+\.conv1\.weight", n)) for n in state),
        "down_block_types": ["CrossAttnDownBlock3D" if yes else "DownBlock3D" for yes in crossed],
        "up_block_types": ["CrossAttnUpBlock3D" if yes else "UpBlock3D" for yes in reversed(crossed)],
        "cross_attention_dim": text.shape[1],
        "attention_head_dim": head_width,
    }


# ---- the text encoder ------------------------------------------------------------------------------------------


def text_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP's text tower as CLIPTextModel without its last layer: VideoCrafter2 reads the one before it.

    OpenCLIP pads with token 0, which is also "!": padding gets a token of its own, the last, embedded like token 0.
    """
    layers = _layers(state) - 1
    words = state["token_embedding.weight"]
    out = {
        "embeddings.token_embedding.weight": torch.cat([words, words[:1]]),
        "embeddings.position_embedding.weight": state["positional_embedding"],
        "final_layer_norm.weight": state["ln_final.weight"],
        "final_layer_norm.bias": state["ln_final.bias"],
    }
    for i in range(layers):
        here, there = f"transformer.resblocks.{i}.", f"encoder.layers.{i}."
        for old, new in LAYER.items():
            out |= {f"{there}{new}.{part}": state[f"{here}{old}.{part}"] for part in ("weight", "bias")}
        for part in ("weight", "bias"):
            thirds = state[f"{here}attn.in_proj_{part}"].chunk(3)
            for name, value in zip("qkv", thirds, strict=True):
                out[f"{there}self_attn.{name}_proj.{part}"] = value.clone()
    return out


def _layers(state: Mapping[str, Tensor]) -> int:
    return 1 + max(int(name.split(".")[2]) for name in state if name.startswith("transformer.resblocks."))


def text_encoder(state: Mapping[str, Tensor], head_width: int = HEAD_WIDTH) -> Any:
    """The CLIPTextModel of `text_state`."""
    from transformers import CLIPTextConfig, CLIPTextModel

    tokens, width = state["token_embedding.weight"].shape
    config = CLIPTextConfig(
        vocab_size=tokens + 1, hidden_size=width, num_hidden_layers=_layers(state) - 1, hidden_act="gelu",
        intermediate_size=state["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        num_attention_heads=width // head_width, max_position_embeddings=len(state["positional_embedding"]),
        bos_token_id=tokens - 2, eos_token_id=tokens - 1, pad_token_id=tokens,
    )  # fmt: skip
    net = CLIPTextModel(config)
    prefix = "text_model." if any(name.startswith("text_model.") for name in net.state_dict()) else ""
    net.load_state_dict({prefix + name: value for name, value in text_state(state).items()}, strict=True)
    return net.eval()


def tokenizer() -> Any:
    """OpenCLIP's tokenizer in transformers' form: the same byte pairs, padded with a token of its own (49408)."""
    import open_clip
    from transformers import CLIPTokenizer

    pairs = open_clip.SimpleTokenizer()
    words = {
        {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}.get(word, word): i
        for word, i in pairs.encoder.items()
    }
    words[PAD] = len(words)
    return CLIPTokenizer(vocab=words, merges=list(pairs.bpe_ranks), pad_token=PAD, model_max_length=77)


# ---- the folder ------------------------------------------------------------------------------------------------


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors by name, without running any code of the file's. UserError when it is missing or something else."""
    try:
        whole = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises what the damage happens to cause
        raise UserError(f"{path}: cannot be read: {str(error).splitlines()[0]}", "download it again") from error
    state = dict(whole.get("state_dict", whole))
    if not any(name.startswith(UNET) for name in state):
        raise UserError(f"{path} holds no {UNET[:-1]}", "give VideoCrafter2's model.ckpt")
    return state


def convert_checkpoint(checkpoint: Path, folder: Path, fps: float, head_width: int = HEAD_WIDTH) -> None:
    """Write the TextToVideoSDPipeline folder of a VideoCrafter2 checkpoint, for clips of `fps` frames a second."""
    from diffusers import AutoencoderKL, DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    state = read_checkpoint(checkpoint)
    tensors = unet_state(under(state, UNET), fps)
    net = UNet3DConditionModel.from_config(unet_config(tensors, head_width))
    net.load_state_dict(tensors, strict=True)
    vae = AutoencoderKL.from_config(vae_config(under(state, VAE)))
    vae.load_state_dict(convert_ldm_vae_checkpoint(state, vae.config), strict=True)
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=True,
        timestep_spacing="trailing",
    )  # fmt: skip
    text = text_encoder(under(state, TEXT), head_width)
    TextToVideoSDPipeline(vae.eval(), text, tokenizer(), net.eval(), scheduler).save_pretrained(folder)


def vae_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The configuration of the AutoencoderKL that the first stage's tensors fit (Stable Diffusion's)."""
    levels = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("encoder.down."))
    return {
        "block_out_channels": [state[f"encoder.down.{i}.block.0.conv2.weight"].shape[0] for i in range(levels)],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": sum(bool(re.fullmatch(r"encoder\.down\.0\.block\.\d+\.conv1\.weight", n)) for n in state),
        "latent_channels": state["post_quant_conv.weight"].shape[0],
        "scaling_factor": 0.18215,
    }


def main(words: Sequence[str] | None = None) -> None:
    import argparse

    parser = argparse.ArgumentParser(prog="python -m harness.backbones.videocrafter", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fps", type=float, default=8.0, help="of the clips it will be used for [8]")
    options = parser.parse_args(words)
    try:
        convert_checkpoint(options.checkpoint, options.folder, options.fps)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
