"""ViCLIP: the published layout, and parity with OpenCLIP's blocks on the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from harness.api import UserError, make_part
from harness.networks.viclip import Sizes, ViCLIP
from methods.rewards import ViClip, frames

CPU = torch.device("cpu")
TINY = Sizes(
    side=32, patch=8, frames=8, width=64, layers=2, words=49408, context=16, text_width=32, text_layers=2, embed=24
)
PROMPTS = ["a red square drifts left", "a ring"]


@pytest.fixture(scope="module")
def clip_model() -> Any:
    """An OpenCLIP model of the same sizes, with OpenAI's QuickGELU as in ViCLIP."""
    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": 2, "width": 64, "head_width": 64, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 1, "layers": 2}
    return open_clip.CLIP(24, vision, text, quick_gelu=True).eval()


@pytest.fixture(scope="module")
def state(clip_model: Any) -> dict[str, Tensor]:
    """The OpenCLIP weights under ViCLIP's names, with random temporal embeddings."""
    theirs, names = clip_model.state_dict(), ViCLIP(TINY).state_dict()
    found = {}
    for name in names:
        tower, _, rest = name.partition(".")
        if name == "temp":
            found[name] = torch.tensor(0.01)
        elif rest == "temporal_positional_embedding":
            found[name] = torch.randn(1, 8, 64, generator=torch.Generator().manual_seed(5)) / 4
        elif rest == "conv1.weight":
            found[name] = theirs["visual.conv1.weight"][:, :, None]
        else:
            found[name] = theirs[f"visual.{rest}" if tower == "vision_encoder" else rest]
    return found


@pytest.fixture(scope="module")
def path(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("viclip") / "ViClip-InternVid-10M-FLT.pth"
    torch.save({"model": state}, path)
    return path


def clip(count: int = 8, side: int = 32) -> Tensor:
    return torch.rand(2, 3, count, side, side, generator=torch.Generator().manual_seed(1))


def test_the_layout_is_that_of_the_published_checkpoint() -> None:
    """CLIP ViT-L/14 has 427 616 513 parameters; ViCLIP adds 8 frames of width 1024 and drops 45 text positions."""
    with torch.device("meta"):
        net = ViCLIP(Sizes())
    state = net.state_dict()
    assert sum(p.numel() for p in net.parameters()) == 427_616_513 + 8 * 1024 - 45 * 768
    assert len(state) == 8 + 24 * 12 + 2 + 1 + 12 * 12 + 4
    shapes = {
        "temp": (),
        "vision_encoder.conv1.weight": (1024, 3, 1, 14, 14),
        "vision_encoder.class_embedding": (1024,),
        "vision_encoder.positional_embedding": (257, 1024),
        "vision_encoder.temporal_positional_embedding": (1, 8, 1024),
        "vision_encoder.ln_pre.weight": (1024,),
        "vision_encoder.ln_post.bias": (1024,),
        "vision_encoder.proj": (1024, 768),
        "vision_encoder.transformer.resblocks.23.attn.in_proj_weight": (3072, 1024),
        "vision_encoder.transformer.resblocks.0.attn.out_proj.bias": (1024,),
        "vision_encoder.transformer.resblocks.7.mlp.c_fc.weight": (4096, 1024),
        "vision_encoder.transformer.resblocks.7.mlp.c_proj.weight": (1024, 4096),
        "text_encoder.token_embedding.weight": (49408, 768),
        "text_encoder.positional_embedding": (32, 768),
        "text_encoder.transformer.resblocks.11.ln_2.weight": (768,),
        "text_encoder.ln_final.weight": (768,),
        "text_encoder.text_projection": (768, 768),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
    assert Sizes.of(state) == Sizes()


def test_the_towers_are_open_clips_blocks(clip_model: Any, state: dict[str, Tensor]) -> None:
    net = ViCLIP(TINY).eval()
    net.load_state_dict(state)
    video, vision = clip(), clip_model.visual
    with torch.no_grad():
        patches = torch.stack([vision.conv1(video[:, :, t]).flatten(2).transpose(1, 2) for t in range(8)], 1)
        patches = patches + vision.positional_embedding[1:]
        patches = patches + state["vision_encoder.temporal_positional_embedding"].view(1, 8, 1, 64)
        first = (vision.class_embedding + vision.positional_embedding[0]).expand(2, 1, 64)
        tokens = vision.transformer(vision.ln_pre(torch.cat([first, patches.reshape(2, 8 * 16, 64)], 1)))
        torch.testing.assert_close(net.vision_encoder(video), vision.ln_post(tokens[:, 0]) @ vision.proj)
        words = open_clip.SimpleTokenizer(context_length=16)(PROMPTS)
        torch.testing.assert_close(net.text_encoder(words), clip_model.encode_text(words))


def test_one_frame_without_temporal_embeddings_is_a_clip_image(clip_model: Any, state: dict[str, Tensor]) -> None:
    net = ViCLIP(replace(TINY, frames=1)).eval()
    net.load_state_dict({**state, "vision_encoder.temporal_positional_embedding": torch.zeros(1, 1, 64)})
    with torch.no_grad():
        torch.testing.assert_close(net.vision_encoder(clip(1)), clip_model.encode_image(clip(1)[:, :, 0]))


def test_the_reward_is_the_cosine_after_imagenet_normalisation(
    clip_model: Any, state: dict[str, Tensor], path: Path
) -> None:
    reward = make_part("reward", {"name": "viclip", "path": str(path)}, CPU)
    video = clip()
    found = reward(video, PROMPTS)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        seen = reward.net.vision_encoder((video - mean) / std)
        said = clip_model.encode_text(open_clip.SimpleTokenizer(context_length=16)(PROMPTS))
    torch.testing.assert_close(found, (seen * said).sum(-1) / seen.norm(dim=-1) / said.norm(dim=-1))
    assert (found[0] - reward(video.flip(2), PROMPTS)[0]).abs() > 1e-5  # the order of frames counts
    low = make_part("reward", {"name": "viclip", "path": str(path), "precision": "bfloat16"}, CPU)
    torch.testing.assert_close(low(video, PROMPTS), found, atol=0.02, rtol=0)


def test_the_gradient_is_that_of_the_score_and_reaches_every_frame(path: Path) -> None:
    reward = make_part("reward", {"name": "viclip", "path": str(path)}, CPU)
    video = clip(side=48).requires_grad_(True)
    (gradient,) = torch.autograd.grad(reward(video, PROMPTS).sum(), video)
    assert (gradient.flatten(3).norm(dim=(1, 3)) > 0).all()
    way, step = gradient / gradient.norm(), 0.05
    with torch.no_grad():
        rise = reward(video + step * way, PROMPTS).sum() - reward(video - step * way, PROMPTS).sum()
    assert float(rise) / (2 * step) == pytest.approx(float(gradient.norm()), rel=0.01)
    assert not any(p.requires_grad for p in reward.net.parameters())


def test_the_middle_of_a_wide_clip_is_looked_at() -> None:
    wide = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(frames.centre_crop(wide, 32), wide[..., 8:40])
    assert frames.centre_crop(torch.rand(1, 3, 320, 512), 224).shape == (1, 3, 224, 224)


def test_what_does_not_fit_is_said(path: Path, state: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="looks at 8 frames of a clip, got 4"):
        make_part("reward", {"name": "viclip", "path": str(path)}, CPU)(clip(4), PROMPTS)
    with pytest.raises(UserError, match=r"hf download OpenGVLab/VBench_Used_Models ViClip-InternVid-10M-FLT.pth"):
        ViClip.check(ViClip.Config(path=str(tmp_path)))
    short = {k: v for k, v in state.items() if k != "text_encoder.ln_final.bias"}
    for content, message in ((short, "text_encoder.ln_final.bias"), ({"a": torch.zeros(1)}, "no ViCLIP checkpoint")):
        torch.save({"model": content}, tmp_path / "x.pth")
        with pytest.raises(UserError, match=message):
            make_part("reward", {"name": "viclip", "path": str(tmp_path / "x.pth")}, CPU)
