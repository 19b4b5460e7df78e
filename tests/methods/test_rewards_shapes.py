"""The embedded world's rewards: the language they read, what they compute, and the weights they ship with."""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.api import ClipSpec, UserError, make_part
from harness.data.world.grammar import VOCABULARY
from harness.registry import datasets
from methods import rewards
from methods.rewards import Reward, language
from methods.rewards.lessons import DEEDS, Clips, ReaderLesson, VideoTextLesson, able, altered
from methods.rewards.scoring import agreement, number, reading_log, reading_probability, strided
from metrics.shapes.reader import WEIGHTS as JUDGE

CPU = torch.device("cpu")
FOLDER = Path(rewards.__file__).parent


def shapes(**settings: Any) -> Any:
    cls: Any = datasets.get("shapes")
    return cls(cls.Config(**settings), ClipSpec())


@pytest.fixture(scope="module")
def clips() -> Clips:
    """48 held-out clips: their captions are in no training set."""
    return Clips.render(shapes(size=48, split="heldout"))


@pytest.fixture(scope="module")
def reader() -> Reward:
    return make_part("reward", {"name": "shapes-reader"}, CPU)


@pytest.fixture(scope="module")
def video_text() -> Reward:
    return make_part("reward", {"name": "shapes-video-text"}, CPU)


# ---- the language ----------------------------------------------------------------------------------------------


def test_a_caption_names_objects_and_a_morph_has_two_shapes() -> None:
    short = "a white ring passes behind the yellow triangle, a yellow triangle pulses"
    assert language.objects(short) == {"white": {"ring"}, "yellow": {"triangle"}}
    assert language.objects("a blue ring morphs into a disk, the camera pans left") == {"blue": {"ring", "disk"}}
    assert language.objects("A RED square and a red cross") == {"red": {"square", "cross"}}
    with pytest.raises(UserError, match='no object of the embedded world is named in "a dog runs"'):
        language.objects("a dog runs")


def test_long_captions_are_read_as_the_short_ones_they_extend() -> None:
    short, long = shapes(size=300), shapes(size=300, caption="long")
    for a, b in zip(short.rows(), long.rows(), strict=True):
        assert language.phrases(a.prompt) == language.phrases(b.prompt)
        assert language.objects(a.prompt) == language.objects(b.prompt)
        assert set(language.objects(a.prompt)) == {thing["colour"] for thing in a.meta["objects"]}


def test_the_language_is_the_worlds() -> None:
    assert set(language.WORDS) | set(language.UNREAD) <= set(VOCABULARY)
    assert set(VOCABULARY) - set(language.WORDS) - set(language.UNREAD) == {
        *(",", ".", "on", "background", "dark", "grey", "cloudy"),
    }
    for caption in ("", "on a dark cloudy background", "a red square walks", "a " * 9):
        with pytest.raises(UserError, match="knows only the embedded world's captions"):
            language.phrases(caption)


def test_words_are_numbered_from_one_and_padded_with_zero() -> None:
    found = number(["a red disk spins", "a red disk spins, the camera zooms in"])
    assert found.shape == (2, 2, 8)
    assert [language.WORDS[i - 1] for i in found[1, 1] if i] == ["the", "camera", "zooms", "in"]
    assert found[0, 1].sum() == 0
    assert (found[0, 0] == found[1, 0]).all()


# ---- the equations ---------------------------------------------------------------------------------------------

ONE, MORPH = {"red": frozenset({"square"})}, {"red": frozenset({"square", "ring"})}


def test_reading_scores_of_a_reader_that_knows_nothing() -> None:
    """Each of the six answers has probability 1/6: log 1/6 + log 1/6; a morph may be either of two: log 1/3."""
    logits = torch.zeros(2, 6, 6, dtype=torch.float64)
    sixth = math.log(1 / 6)
    assert reading_log(logits, [ONE, MORPH]).tolist() == pytest.approx([2 * sixth, math.log(1 / 3) + sixth], abs=1e-12)
    assert reading_probability(logits, [ONE, MORPH]).tolist() == pytest.approx([1 / 6 - 5 / 6, 1 / 3 - 5 / 6])


def test_reading_scores_average_over_what_is_named_and_over_what_is_not() -> None:
    logits = torch.full((1, 6, 6), -math.inf, dtype=torch.float64)
    logits[..., -1] = 0.0  # sure that nothing is there ...
    logits[0, 0] = torch.tensor([1.0, 3.0, 0.0, 0.0, 0.0, 4.0]).double().log()  # ... but the red one
    logits[0, 5] = torch.tensor([-math.inf, -math.inf, -math.inf, -math.inf, 0.0, 0.0])  # and perhaps a white cross
    log_p, named = agreement(logits, [ONE])
    assert named.tolist() == [[True, *5 * [False]]]
    assert log_p.exp().tolist() == [pytest.approx([3 / 8, 1, 1, 1, 1, 0.5])]
    assert reading_log(logits, [ONE]).item() == pytest.approx(math.log(3 / 8) + math.log(0.5) / 5)
    assert reading_probability(logits, [ONE]).item() == pytest.approx(3 / 8 - 0.5 / 5)
    everything = dict.fromkeys(language.COLOURS, frozenset({"square"}))
    uniform = reading_log(torch.zeros(1, 6, 6), [everything])
    assert uniform.item() == pytest.approx(math.log(1 / 6))


def test_the_log_score_keeps_its_gradient_where_the_reader_is_sure() -> None:
    logits = torch.zeros(1, 6, 6, dtype=torch.float64)
    logits[..., -1] = 30.0
    for score, slope in ((reading_log, 1.0), (reading_probability, 0.0)):
        logits.requires_grad_(True)
        (gradient,) = torch.autograd.grad(score(logits, [ONE]).sum(), logits)
        assert gradient[0, 0, 1].item() == pytest.approx(slope, abs=1e-9)


def test_frames_are_evenly_strided() -> None:
    assert strided(17, 0) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert strided(17, 1) == [1, 3, 5, 7, 9, 11, 13, 15]
    assert strided(8, 0) == [*range(8)]


# ---- the rewards -----------------------------------------------------------------------------------------------


def others(captions: list[str]) -> list[str]:
    """For each caption one that names other objects."""
    objects = [language.objects(caption) for caption in captions]
    return [
        next(captions[(i + k) % 48] for k in range(1, 48) if objects[(i + k) % 48] != objects[i]) for i in range(48)
    ]


def test_the_reader_tells_right_captions_from_wrong_ones(reader: Any, clips: Clips) -> None:
    video = clips.video(np.arange(48))[:, :, [3, 12]]
    right, wrong = reader(video, clips.captions), reader(video, others(list(clips.captions)))
    assert right.shape == (48,)
    assert right.max() <= 0
    assert (right > wrong).float().mean() >= 0.97
    assert right.median() > -0.3
    accuracy = dict(ReaderLesson(reader.net, clips, _refuse, 0).measure(clips, damaged=False))
    assert accuracy["objects"] >= 0.93
    assert accuracy["empty colours"] >= 0.97


def test_the_video_reward_tells_captions_and_motions_apart(video_text: Any, clips: Clips) -> None:
    video = clips.video(np.arange(48))[:, :, strided(17, 0)]
    right, wrong = video_text(video, clips.captions), video_text(video, others(list(clips.captions)))
    assert (right > wrong).float().mean() >= 0.97
    assert right.abs().max() <= 1
    accuracy = dict(VideoTextLesson(video_text.net, clips, _refuse, 0).measure(clips, damaged=False))
    (top, motion) = accuracy.values()
    assert top >= 0.85
    assert motion >= 0.8


def _refuse(video: Tensor, level: Tensor) -> Tensor:
    raise AssertionError("clean clips go through no codec")


@pytest.mark.parametrize("name", ["shapes-reader", "shapes-video-text"])
def test_ascent_on_a_wrong_clips_pixels_raises_the_reward(name: str, clips: Clips) -> None:
    reward = make_part("reward", {"name": name}, CPU)
    captions = others(list(clips.captions))[:4]
    start = clips.video(np.arange(4))[:, :, strided(17, 0)[: reward.frames]]
    video = start.clone().requires_grad_(True)
    before = reward(start, captions)
    for _ in range(30):
        (gradient,) = torch.autograd.grad(reward(video, captions).sum(), video)
        assert gradient.isfinite().all()
        assert (gradient.flatten(3).norm(dim=(1, 3)) > 0).all()  # every frame is looked at
        with torch.no_grad():
            step = 1.0 * gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1, 1)
            video.add_(step).clamp_(0, 1)
    risen = reward(video, captions) - before
    assert (risen > (2.0 if name == "shapes-reader" else 0.5)).all(), risen
    assert not any(p.requires_grad for p in reward.net.parameters())


def test_the_gradient_is_the_slope(reader: Any, video_text: Any, clips: Clips) -> None:
    for reward in (reader, video_text):
        video = clips.video(np.arange(2))[:, :, strided(17, 1)[: reward.frames]].requires_grad_(True)
        captions = clips.captions[2:4]
        (gradient,) = torch.autograd.grad(reward(video, captions).sum(), video)
        way, step = gradient / gradient.norm(), 0.002  # the reader bends sharply
        with torch.no_grad():
            rise = reward(video + step * way, captions).sum() - reward(video - step * way, captions).sum()
        assert float(rise) / (2 * step) == pytest.approx(float(gradient.norm()), rel=0.02)


def test_an_image_reward_is_the_mean_over_frames_and_size_hardly_matters(reader: Any, clips: Clips) -> None:
    video, captions = clips.video(np.arange(6))[:, :, :3], clips.captions[:6]
    each = torch.stack([reader(video[:, :, [f]], captions) for f in range(3)])
    torch.testing.assert_close(reader(video, captions), each.mean(0), atol=1e-5, rtol=1e-5)
    large = video.repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert (reader(large, captions) - reader(video, captions)).abs().median() < 0.05
    assert reader(video.double(), captions).dtype == torch.float64
    probable = make_part("reward", {"name": "shapes-reader", "score": "probability"}, CPU)(video, captions)
    assert probable.abs().max() <= 1


def test_the_video_reward_hears_the_order_of_frames_not_of_phrases(video_text: Any, clips: Clips) -> None:
    place = next(i for i, c in enumerate(clips.captions) if "drifts" in c and "," in c and "camera" not in c)
    video, caption = clips.video(np.array([place]))[:, :, strided(17, 0)], clips.captions[place]
    swapped = ", ".join(reversed(caption.split(", ")))
    torch.testing.assert_close(video_text(video, [caption]), video_text(video, [swapped]))
    assert video_text(video, [caption]) - video_text(video.flip(2), [caption]) > 0.05
    with pytest.raises(UserError, match="looks at 8 frames of a clip, got 4"):
        video_text(video[:, :, :4], [caption])


# ---- the weights -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shapes-reader", "shapes-video-text"])
def test_shipped_weights_are_small_carded_and_not_the_judges(name: str) -> None:
    path = FOLDER / "weights" / f"{name}.safetensors"
    card = (FOLDER / "weights" / "README.md").read_text(encoding="utf-8")
    assert path.stat().st_size < 1_000_000
    assert hashlib.sha256(path.read_bytes()).hexdigest() in card
    assert not set(load_file(path)) & set(load_file(JUDGE))


def test_missing_weights_are_named_with_the_command_that_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("methods.rewards.shapes.WEIGHTS", tmp_path)
    with pytest.raises(UserError, match=r"is missing\nmake it with `python -m methods.rewards.train shapes-reader`"):
        rewards.ShapesReader.check(rewards.ShapesReader.Config())


# ---- training --------------------------------------------------------------------------------------------------


def test_altered_captions_say_one_other_thing(clips: Clips) -> None:
    dice = np.random.default_rng(0)
    for caption in clips.captions:
        for _ in range(20):
            other = altered(caption, dice)
            a, b = language.phrases(caption), language.phrases(other)
            assert a != b
            assert sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b)) == 1
    assert not able("a red disk drifts up", "spins")
    assert all(able("a red cross drifts up", deed) for deed in DEEDS)


@pytest.mark.parametrize("name", ["shapes-reader", "shapes-video-text"])
def test_a_killed_training_goes_on_with_the_same_numbers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from methods.rewards import train

    class Blur:
        def __init__(self, seed: int) -> None: ...

        def __call__(self, video: Tensor, level: Tensor) -> Tensor:
            return (video + level.view(-1, 1, 1, 1, 1)).clamp(0, 1)

    monkeypatch.setattr(train, "EmbeddedCodec", Blur)
    threads = torch.get_num_threads()
    lesson = train.LESSONS[name][0]
    monkeypatch.setattr(lesson, "clips", 4)

    def run(tag: str) -> None:
        files = ["--out", str(tmp_path / f"{tag}.safetensors"), "--state", str(tmp_path / f"{tag}.pt")]
        sizes = ["--steps", "4", "--clips", "12", "--held-out", "16", "--save-every", "2"]
        monkeypatch.setattr("sys.argv", ["train", name, *files, *sizes])
        train.main()

    run("whole")
    assert len(re.findall(r"16 held-out clips: .* [01]\.\d{4}", capsys.readouterr().out)) == 4
    true = lesson.loss
    monkeypatch.setattr(lesson, "loss", lambda self, step: true(self, step) if step < 3 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("killed")
    assert not (tmp_path / "killed.safetensors").exists()
    monkeypatch.setattr(lesson, "loss", true)
    run("killed")
    assert "step 4/4" in capsys.readouterr().out
    whole, killed = (load_file(tmp_path / f"{tag}.safetensors") for tag in ("whole", "killed"))
    assert all(torch.equal(whole[key], killed[key]) for key in whole)
    assert not (tmp_path / "killed.pt").exists()
    torch.set_num_threads(threads)


def test_the_readmes_reward_works(clips: Clips) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (FOLDER / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    namespace: dict[str, Any] = {}
    exec(blocks[0], namespace)
    calm = make_part("reward", {"name": "calm", "weight": 0.5}, CPU)
    assert (calm.config.weight, calm.kind, calm.frames) == (0.5, "video_text", 8)
    still = torch.full((1, 3, 8, 4, 4), 0.5)
    moving = still + torch.arange(8).view(1, 1, 8, 1, 1) / 20
    assert calm(still, ["x"]).item() == pytest.approx(0)
    assert calm(moving, ["x"]).item() == pytest.approx(-0.05)
