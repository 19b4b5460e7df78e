"""Runs inside the official environment: its classes and transforms, at the published sizes or at those of
`metrics.vbench.seeded`'s small ViCLIP and UMT, which `VBench.evaluate` itself has no way to ask for.

stdin: {"full": whether at the published sizes, "viclip": file, "umt": file, "clips": {name: path}, "prompts": [...],
"lengths": [...]}
last line of stdout: what `text_and_video` and `actions` give, "indices" of frames, "actions": digest of their names
"""

from __future__ import annotations

import json
import sys
from functools import partial
from hashlib import sha256

import torch
from torch import nn
from vbench.human_action import CenterCrop, ClipToTensor, Compose, Normalize, Resize, build_dict
from vbench.overall_consistency import get_vid_features
from vbench.third_party.umt.models.modeling_finetune import VisionTransformer as ActionTransformer
from vbench.third_party.ViCLIP.viclip import ViCLIP
from vbench.third_party.ViCLIP.viclip_text import CLIP_TEXT
from vbench.third_party.ViCLIP.viclip_vision import VisionTransformer
from vbench.utils import clip_transform, get_frame_indices, load_video, read_frames_decord_by_fps

SAMPLES = 9973  # every how many numbers of a network's input one is kept


def viclip(path: str, full: bool) -> nn.Module:
    if full:
        return ViCLIP(pretrain=path).eval()
    net = ViCLIP.__new__(ViCLIP)
    nn.Module.__init__(net)
    net.max_txt_l = 32
    net.vision_encoder = VisionTransformer(224, 28, width=64, layers=2, heads=1, output_dim=32, num_frames=8)
    net.text_encoder = CLIP_TEXT(32, 32, 49408, 16, 1, 2, 0)
    net.temp = nn.Parameter(torch.zeros(()))
    net.load_state_dict(torch.load(path, map_location="cpu")["model"])
    return net.eval()


def umt(path: str, full: bool) -> nn.Module:
    width, depth = (1024, 24) if full else (64, 2)
    net = ActionTransformer(
        patch_size=16, embed_dim=width, depth=depth, num_heads=width // 64, qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6), num_classes=400, all_frames=16, tubelet_size=1,
        use_mean_pooling=True, init_scale=0.001,
    )  # fmt: skip
    missing, unexpected = net.load_state_dict(torch.load(path, map_location="cpu"), strict=False)
    assert (missing, unexpected) == (["pos_embed"], [])
    return net.eval()


def samples(values: torch.Tensor) -> list[float]:
    return values.flatten()[::SAMPLES].tolist()


def text_and_video(task: dict) -> dict:
    """Cosines of clips and prompts; tokens; what ViCLIP sees."""
    net, prompts = viclip(task["viclip"], task["full"]), task["prompts"]
    texts = net.encode_text(prompts).float()
    texts /= texts.norm(dim=-1, keepdim=True)
    cosines, pixels = {}, {}
    for name, path in task["clips"].items():
        shown = clip_transform(224)(read_frames_decord_by_fps(path, num_frames=8, sample="middle"))
        pixels[name] = samples(shown)
        cosines[name] = (get_vid_features(net, shown.unsqueeze(0)) @ texts.T)[0].tolist()
    rows = net.text_encoder.tokenize(prompts, context_length=32).tolist()
    tokens = {prompt: [token for token in row if token] for prompt, row in zip(prompts, rows, strict=True)}
    return {"cosines": cosines, "tokens": tokens, "viclip_pixels": pixels}


def actions(task: dict) -> dict:
    """Probabilities of the 400 actions, and what UMT sees."""
    net = umt(task["umt"], task["full"])
    stretch = Compose([
        Resize(256, interpolation="bilinear"), CenterCrop(size=(224, 224)), ClipToTensor(),
        Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    ])  # fmt: skip
    chances, pixels = {}, {}
    for name, path in task["clips"].items():
        shown = load_video(path, stretch, num_frames=16)
        pixels[name] = samples(shown)
        chances[name] = torch.sigmoid(net(shown.unsqueeze(0)))[0].tolist()
    return {"probabilities": chances, "umt_pixels": pixels, "positions": samples(net.pos_embed.data)}


@torch.no_grad()
def main() -> None:
    task = json.load(sys.stdin)
    torch.set_num_threads(1)
    indices = {
        str(count): {str(n): [int(i) for i in get_frame_indices(count, n, "middle")] for n in task["lengths"]}
        for count in (8, 16)
    }
    names = build_dict()
    digest = sha256("\n".join(names[str(number)] for number in range(400)).encode()).hexdigest()
    print("\n" + json.dumps({**text_and_video(task), **actions(task), "indices": indices, "actions": digest}))


if __name__ == "__main__":
    main()
