"""CLIPScore and HPSv2.1 on a tiny model, written to disk under the real file names and in the real formats."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms.functional import InterpolationMode
from torchvision.transforms.functional import normalize as tv_normalise
from torchvision.transforms.functional import resize as tv_resize

from harness.api import UserError, check_part, make_part
from methods.rewards import ClipScore, HPSv21, frames

CPU = torch.device("cpu")
SIDE = 32
SHAPE = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
PROMPTS = ["a red square drifts left", "two cats play chess in a thunderstorm while " + "it rains and " * 20]


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return open_clip.CLIP(**SHAPE).eval()


@pytest.fixture(scope="module")
def folder(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both checkpoints: HPSv2.1's holds its tensors under "state_dict" beside other things, OpenCLIP's bare."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny.json").write_text(json.dumps(SHAPE))
    torch.save({"epoch": 1, "name": "x", "state_dict": model.state_dict()}, folder / "HPS_v2.1_compressed.pt")
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folder


def spec(name: str, folder: Path, **more: Any) -> dict[str, Any]:
    return {"name": name, "path": str(folder), "architecture": str(folder / "tiny.json"), **more}


def clip(height: int = 40, width: int = 64, count: int = 3) -> Tensor:
    return torch.rand(2, 3, count, height, width, generator=torch.Generator().manual_seed(1))


def expected(model: Any, images: Tensor, count: int) -> Tensor:
    """Cosines by OpenCLIP's own towers and tokenizer, mean over the frames of a clip."""
    words = open_clip.SimpleTokenizer(context_length=20)(PROMPTS)
    with torch.no_grad():
        seen = model.encode_image(tv_normalise(images, frames.CLIP_MEAN, frames.CLIP_STD), normalize=True)
        said = model.encode_text(words, normalize=True)
    return (seen.unflatten(0, (2, count)) * said[:, None]).sum(-1).mean(1)


def squared(images: Tensor, size: tuple[int, int]) -> Tensor:
    return tv_resize(images, list(size), InterpolationMode.BICUBIC, antialias=True)


def test_clipscore_is_open_clips_cosine_on_stretched_frames(model: Any, folder: Path) -> None:
    video = clip()
    found = make_part("reward", spec("clipscore", folder), CPU)(video, PROMPTS)
    images = squared(video.transpose(1, 2).flatten(0, 1), (SIDE, SIDE))
    torch.testing.assert_close(found, expected(model, images, 3), atol=1e-6, rtol=1e-5)
    assert found.shape == (2,)
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("height", "width", "inner", "bars"), [(40, 64, (20, 32), (0, 6)), (64, 24, (32, 12), (10, 0))]
)
def test_hps_is_open_clips_cosine_on_letterboxed_frames(
    model: Any, folder: Path, height: int, width: int, inner: tuple[int, int], bars: tuple[int, int]
) -> None:
    video = clip(height, width)
    found = make_part("reward", spec("hpsv2.1", folder), CPU)(video, PROMPTS)
    images = squared(video.transpose(1, 2).flatten(0, 1), inner)
    images = pad(images, (bars[0], bars[0], bars[1], bars[1]))  # left, right, top, bottom
    torch.testing.assert_close(found, expected(model, images, 3), atol=1e-6, rtol=1e-5)


def test_our_pixels_are_those_of_open_clips_own_transform() -> None:
    """PIL rounds to whole grey levels between its passes, torch does not: no more than that may differ."""
    frame = ((0.3 + 0.4 * clip(40, 64, 1)[0, :, 0]) * 255).round().to(torch.uint8)  # far from where PIL would clip
    picture = Image.fromarray(frame.permute(1, 2, 0).numpy())
    ours = {"squash": frames.stretch, "longest": frames.letterbox, "shortest": frames.centre_crop}
    for mode, function in ours.items():
        transform = open_clip.image_transform(SIDE, is_train=False, resize_mode=mode, interpolation="bicubic")
        mine = frames.normalise(function(frame[None] / 255, SIDE), frames.CLIP_MEAN, frames.CLIP_STD)[0]
        assert mine.shape == (3, SIDE, SIDE)
        torch.testing.assert_close(mine, transform(picture), atol=2 / 255 / 0.26, rtol=0, msg=mode)


def test_the_gradient_is_that_of_the_score_and_reaches_every_frame(folder: Path) -> None:
    reward = make_part("reward", spec("clipscore", folder), CPU)
    video = clip().requires_grad_(True)
    score = reward(video, PROMPTS).sum()
    (gradient,) = torch.autograd.grad(score, video)
    assert (gradient.flatten(3).norm(dim=(1, 3)) > 0).all()
    way = gradient / gradient.norm()
    step = 0.05
    with torch.no_grad():
        rise = reward(video + step * way, PROMPTS).sum() - reward(video - step * way, PROMPTS).sum()
    assert float(rise) / (2 * step) == pytest.approx(float(gradient.norm()), rel=0.01)
    assert all(not p.requires_grad and p.grad is None for p in reward.net.parameters())


def test_bfloat16_is_near_float32_and_answers_in_the_clips_type(folder: Path) -> None:
    low = make_part("reward", spec("clipscore", folder, precision="bfloat16"), CPU)
    full = make_part("reward", spec("clipscore", folder), CPU)
    assert low.net.visual.transformer.resblocks[0].mlp.c_fc.weight.dtype == torch.bfloat16
    video = clip().double()
    assert low(video, PROMPTS).dtype == torch.float64
    torch.testing.assert_close(low(video, PROMPTS), full(video, PROMPTS), atol=0.02, rtol=0)


def test_a_checkpoint_is_found_in_the_hub_cache(
    model: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    home = tmp_path / "models--xswu--HPSv2"
    (home / "snapshots" / "abc").mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc")
    named = {"name": "hpsv2.1", "architecture": str(folder / "tiny.json")}
    config = check_part("reward", named)
    with pytest.raises(UserError, match=r"HPS_v2.1_compressed.pt of xswu/HPSv2 is not downloaded") as missing:
        HPSv21.check(config)
    assert "`hf download xswu/HPSv2 HPS_v2.1_compressed.pt`" in str(missing.value)
    file = home / "snapshots" / "abc" / "HPS_v2.1_compressed.pt"
    file.write_bytes((folder / file.name).read_bytes())
    HPSv21.check(config)
    assert HPSv21.weights(config) == (file,)
    assert make_part("reward", named, CPU)(clip(), PROMPTS).isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"path": "/nowhere/hps.pt"},
            r"/nowhere/hps.pt is missing[\s\S]*hf download xswu/HPSv2 HPS_v2.1_compressed.pt",
        ),
        ({"path": "."}, r"HPS_v2.1_compressed.pt is missing[\s\S]*--local-dir \."),
        ({"path": "not a name!"}, "neither a file, a folder nor a hub id"),
        ({"architecture": "ViT-H-15"}, r'no architecture is called "ViT-H-15"[\s\S]*did you mean "ViT-H-1'),
        ({"architecture": "xlm-roberta-base-ViT-B-32"}, "is not a plain CLIP"),
    ],
)
def test_what_is_missing_is_named_before_anything_is_loaded(
    settings: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        HPSv21.check(check_part("reward", {"name": "hpsv2.1", **settings}))


def test_planning_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from harness.api import UserError; from methods.rewards import ClipScore, ViClip, ShapesReader\n"
        "for cls in (ClipScore, ViClip):\n"
        "    try: cls.check(cls.Config(path=sys.argv[1])); sys.exit('found')\n"
        "    except UserError: pass\n"
        "ShapesReader.check(ShapesReader.Config())\n"
        "sys.exit('torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=root)


def test_a_damaged_or_foreign_file_is_said_to_be_one(model: Any, folder: Path, tmp_path: Path) -> None:
    whole = (folder / "open_clip_pytorch_model.bin").read_bytes()
    state = model.state_dict()
    cases: dict[str, tuple[Any, str]] = {
        "cut.bin": (whole[: len(whole) // 2], "is damaged, or holds more than tensors"),
        "text.bin": (b"<html>404</html>", "is damaged, or holds more than tensors"),
        "code.bin": ({"state_dict": state, "hook": test_planning_imports_no_torch}, "holds more than tensors"),
        "list.bin": ([1, 2], "holds no tensors by name"),
        "short.bin": ({k: v for k, v in state.items() if k != "ln_final.bias"}, "Missing key.*ln_final.bias"),
        "long.bin": ({**state, "score_head.weight": torch.zeros(1)}, "Unexpected key.*score_head.weight"),
    }
    for file, (content, message) in cases.items():
        path = tmp_path / file
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(UserError, match=message):
            make_part("reward", {**spec("clipscore", folder), "path": str(path)}, CPU)


def test_defaults_are_those_of_t2v_turbo_v2() -> None:
    score, hps = ClipScore.Config(), HPSv21.Config()
    assert (score.architecture, score.path, score.resize) == (
        "ViT-H-14",
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        "stretch",
    )
    assert (hps.architecture, hps.file, hps.resize) == ("ViT-H-14", "HPS_v2.1_compressed.pt", "letterbox")
    assert (ClipScore.frames, ClipScore.kind) == (2, "image_text")
