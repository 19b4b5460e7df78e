"""Reward feedback: which frames and clips are judged, what the rewards add up to, and what happens when one breaks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from harness.api import UserError
from harness.registry import methods
from methods.consistency.feedback import (
    judged_rows,
    random_frames,
    reward_objective,
    strided_frames,
    take_frames,
    to_unit,
    video_weight,
)
from tests.methods.common import options
from tests.methods.consistency_toys import REWARDS, distiller, part, rows_of

F64 = torch.float64
NAME = "t2v-turbo-v2-nomg"
WARM = 2.0  # weight of the toy video reward


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=F64)


# ---- frames --------------------------------------------------------------------------------------------------------


def test_random_frames_differ_and_every_pair_is_as_likely() -> None:
    side = (torch.arange(60, dtype=F64) + 0.5) / 60
    grid = torch.cartesian_prod(side, side)
    picks = random_frames(grid, 5)
    counts = torch.bincount(5 * picks[:, 0] + picks[:, 1], minlength=25).reshape(5, 5)
    assert counts.tolist() == [[0 if i == j else 180 for j in range(5)] for i in range(5)]
    triples = random_frames(torch.rand(4000, 3, generator=torch.Generator().manual_seed(0), dtype=F64), 3)
    assert triples.sort(1).values.unique(dim=0).tolist() == [[0, 1, 2]]
    assert len(triples.unique(dim=0)) == 6


def test_strided_frames() -> None:  # arange(start, 16, 4)[:4], start in 0 .. 3
    picks = strided_frames(tensor(0, 0.25, 0.5, 0.999), 4, 16)
    assert picks.tolist() == [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]]
    assert strided_frames(tensor(0.99), 4, 17).tolist() == [[3, 7, 11, 15]]
    assert strided_frames(tensor(0.99), 4, 4).tolist() == [[0, 1, 2, 3]]
    for call in (lambda: strided_frames(tensor(0.5), 4, 3), lambda: random_frames(tensor(0.5, 0.5)[None], 1)):
        with pytest.raises(UserError, match="a clip has"):
            call()


def test_taking_frames() -> None:
    video = torch.arange(2 * 3 * 5, dtype=F64).reshape(2, 3, 5, 1, 1).requires_grad_()
    taken = take_frames(video, torch.tensor([[4, 0], [1, 1]]))
    assert taken.flatten(2).tolist() == [[[4, 0], [9, 5], [14, 10]], [[16, 16], [21, 21], [26, 26]]]
    taken.sum().backward()
    assert video.grad is not None
    assert video.grad[1, 0].flatten().tolist() == [0, 2, 0, 0, 0]


def test_pixels() -> None:
    assert to_unit(tensor(-3, -1, 0, 1, 1.2)).tolist() == [0, 0, 0.5, 1, 1]


# ---- the objective -------------------------------------------------------------------------------------------------


def test_the_objective() -> None:
    image, video = [tensor(1, 3), tensor(0.5, 0.5)], [tensor(2, 4)]
    assert reward_objective(image, video, 0.2, 0.5).item() == pytest.approx(0.2 * 2.5 + 0.5 * 3)
    assert reward_objective([], [], 0.2, 0.5).item() == 0
    assert video_weight(0.5, effective_ddp=False) == 0.5
    assert video_weight(0.5, effective_ddp=True) == pytest.approx(1 / 6)  # D-T2V7


def judged(method: Any, data: Any, rows: list[int]) -> torch.Tensor:
    """J by hand: the student's x0 of those rows, the frames that the uniform numbers pick."""
    noise = part(data, 0, len(data.index), "loss").noise
    eps, u, u_w = noise.normal(data.latent), noise.uniform(), noise.uniform()
    noise.uniform()  # which clips are judged
    pairs, offset = torch.stack([noise.uniform(), noise.uniform()], 1), noise.uniform()
    frames, image, video = data.latent.shape[2], [], []
    for b in rows:
        n = int(20 * u[b]) + 1
        t = 5 * n / 20 / (1 + 4 * n / 20)
        z = (1 - t) * data.latent[b : b + 1] + t * eps[b : b + 1]
        embeds = {"guidance": 5 + 10 * u_w[b : b + 1]}
        x0 = method.student.predict(z, tensor(t), data.cond[b : b + 1], "x0", embeds)[0]
        pixels = ((x0 + 1) / 2).clamp(0, 1)
        first = int(pairs[b, 0] * frames)
        second = int(pairs[b, 1] * (frames - 1))
        second += second >= first
        image.append(pixels[:, [first, second]].mean())
        start = int(offset[b] * (frames // 4))
        shown = pixels[:, start :: frames // 4][:, :4]
        video.append(WARM * (shown[0] - shown[2]).mean())
    return 0.2 * torch.stack(image).mean() + 0.5 * torch.stack(video).mean()


@pytest.mark.parametrize("frames", [4, 9])
def test_the_loss_is_distillation_minus_rewards(frames: int) -> None:
    method, plain = (distiller(NAME, rewards=rewards) for rewards in (REWARDS, []))
    data = rows_of(method, frames=frames)
    data.short_prompt = ["red", "", "blue", "", "", "green"]
    loss, logs = method.loss("student", part(data, 0, 6, "loss"), 0)
    cd, _ = plain.loss("student", part(data, 0, 6, "loss"), 0)
    j = judged(method, data, [0, 2, 5])
    assert logs["cd"] == pytest.approx(cd.item(), rel=1e-12)
    assert loss.item() == pytest.approx((cd - j).item(), rel=1e-10)
    assert logs["reward_skipped"] == 0
    assert 0.2 * logs["reward_toy-brightness"] + 0.5 * WARM * logs["reward_toy-warmth"] == pytest.approx(j.item())

    weights = [*method.student.net.parameters()]
    found = torch.autograd.grad(loss, weights)
    of_cd = torch.autograd.grad(
        plain.loss("student", part(data, 0, 6, "loss"), 0)[0], [*plain.student.net.parameters()]
    )
    of_j = torch.autograd.grad(j, weights, allow_unused=True)
    for one, less, more in zip(found, of_cd, of_j, strict=True):
        torch.testing.assert_close(one, less - (0 if more is None else more), rtol=1e-8, atol=1e-13)


def test_rewards_of_nothing_change_nothing() -> None:
    method, plain = (distiller(NAME, rewards=rewards) for rewards in (REWARDS, []))
    data = rows_of(method, short="")
    pair = [m.loss("student", part(data, 0, 6, "loss"), 0)[0].item() for m in (method, plain)]
    assert pair[0] == pair[1]


def test_a_reward_that_is_not_a_number_is_left_out_and_counted() -> None:
    method = distiller(NAME, rewards=REWARDS)
    data = rows_of(method)
    data.short_prompt = ["red", "broken", *[""] * 4]
    loss, logs = method.loss("student", part(data, 0, 6, "loss"), 0)
    assert logs["reward_skipped"] == 1
    assert "reward_toy-warmth" not in logs
    assert loss.item() == pytest.approx(logs["cd"] - 0.2 * logs["reward_toy-brightness"])
    gradient = torch.autograd.grad(loss, [*method.student.net.parameters()])
    assert all(torch.isfinite(g).all() for g in gradient)

    alone = distiller(NAME, rewards=REWARDS[1:])
    loss, logs = alone.loss("student", part(data, 0, 6, "loss"), 0)
    assert (loss.item(), logs["reward_skipped"]) == (logs["cd"], 1)


def test_as_many_clips_are_judged_as_asked_for() -> None:
    found = []
    for limit in (0, 1):
        method, sizes = distiller(NAME, rewards=REWARDS, reward_rows=limit), []
        inner = method.student.decode
        method.student.decode = lambda x, inner=inner, sizes=sizes: sizes.append(len(x)) or inner(x)
        data = rows_of(method)
        data.short_prompt = ["", "red", "", "blue", "green", ""]
        for draw in range(30):
            method.loss("student", part(data, 0, 6, "loss", draw), 0)
        found.append(sizes)
    assert found == [[3] * 30, [1] * 30]


def test_which_clip_is_judged_is_drawn() -> None:
    prompts, order = ["", "red", "", "blue", "green", ""], tensor(0.0, 0.7, 0.1, 0.5, 0.6, 0.2)
    assert judged_rows(prompts, order) == [1, 3, 4]
    assert judged_rows(prompts, order, 1) == [3]
    assert judged_rows(prompts, order, 2) == [3, 4]
    assert judged_rows([""] * 6, order, 2) == []


def test_training_follows_the_reward() -> None:
    """With the reward alone to speak of, clips get brighter."""
    method = distiller(NAME, rewards=REWARDS[:1], beta_img=100.0, w_range=[0, 0])
    optimizer = torch.optim.Adam(method.student.net.parameters(), lr=1e-2)
    data, seen = rows_of(method), []
    for step in range(40):
        loss, logs = method.loss("student", part(data, 0, 6, "loss", step), step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(logs["reward_toy-brightness"])
    assert sum(seen[-10:]) > sum(seen[:10]) + 0.5
    assert math.isfinite(loss.item())


def test_needs() -> None:
    cls = methods.get(NAME)
    config = options(NAME, rewards=REWARDS)
    assert [dict(spec)["name"] for spec in cls.needs(config).rewards] == ["toy-brightness", "toy-warmth"]
    assert (config.beta_img, config.beta_v, config.reward_frames, config.effective_ddp) == (0.2, 0.5, 2, False)
    none = cls.needs(options(NAME, rewards=[]))
    assert (none.caps, none.fields) == (("guidance_embed",), ("latent", "prompt"))
