"""Reward feedback on the student's clean latents: which frames are shown, and what the rewards add up to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from harness.api import Backbone, Batch, UserError, make_part
from methods.rewards.base import Reward

# The released launch runs distillation and image rewards on 6 of 8 ranks and the video reward on the other 2.
VIDEO_SHARE = (2 / 8) / (6 / 8)


def random_frames(u: Tensor, frames: int) -> Tensor:
    """M different frames of F, all sets equally likely, from u `[B, M]` uniform numbers; `[B, M]` int64.

    Raises UserError when the clip has fewer than M frames.
    """
    count = u.shape[1]
    _enough(count, frames)
    picks = torch.empty(len(u), 0, dtype=torch.int64)
    for k in range(count):
        pick = (u[:, k] * (frames - k)).long().clamp(max=frames - k - 1)
        for earlier in picks.sort(1).values.T:
            pick = pick + (pick >= earlier)  # skip what is taken
        picks = torch.cat([picks, pick[:, None]], 1)
    return picks


def strided_frames(u: Tensor, count: int, frames: int) -> Tensor:
    """`count` frames every F // count, from a random offset below that stride, from u `[B]`; `[B, count]` int64.

    Raises UserError when the clip has fewer frames.
    """
    _enough(count, frames)
    stride = frames // count
    offset = (u * stride).long().clamp(max=stride - 1)
    return offset[:, None] + stride * torch.arange(count)


def _enough(count: int, frames: int) -> None:
    if count > frames:
        raise UserError(
            f"a reward is shown {count} frames, but a clip has {frames}", "use longer clips or fewer frames"
        )


def take_frames(video: Tensor, picks: Tensor) -> Tensor:
    """video `[B, 3, F, H, W]`, picks `[B, M]` to `[B, 3, M, H, W]`; differentiable."""
    rows = torch.arange(len(video), device=video.device)[:, None]
    return video[rows, :, picks.to(video.device)].movedim(1, 2)


def judged_rows(short_prompt: Sequence[str], order: Tensor, limit: int = 0) -> list[int]:
    """Rows with a short caption; at most `limit` of them (0: all), those with the least of uniform numbers `[B]`."""
    captioned = [row for row, prompt in enumerate(short_prompt) if prompt]
    return sorted(sorted(captioned, key=lambda row: order[row].item())[: limit or None])


def to_unit(video: Tensor) -> Tensor:
    """Pixels in [-1, 1] to [0, 1], clamped: what rewards look at."""
    return ((video + 1) / 2).clamp(0, 1)


def video_weight(beta_v: float, effective_ddp: bool) -> float:
    """beta_v as printed, or as it acts in the released code, whose ranks average different losses: a third (D-T2V7)."""
    return beta_v * VIDEO_SHARE if effective_ddp else beta_v


def reward_objective(image: Sequence[Tensor], video: Sequence[Tensor], beta_img: float, beta_v: float) -> Tensor:
    """J = beta_img mean(sum_k R_img_k) + beta_v mean(sum_k R_v_k); each R `[B]`, image rewards already frame means."""
    terms = [beta_img * r.mean() for r in image] + [beta_v * r.mean() for r in video]
    return torch.stack(terms).sum() if terms else torch.zeros(())


class Feedback:
    """J of the rows that have a short caption, judged by that caption.

    Args:
        options: the trainer's; `rewards`, `beta_img`, `beta_v`, `effective_ddp`, `reward_frames`, `reward_rows`.
    """

    def __init__(self, options: Any, student: Backbone, device: torch.device) -> None:
        self.options, self.student = options, student
        self.rewards: list[tuple[str, Reward]] = [
            (spec["name"], make_part("reward", spec, device)) for spec in options.rewards
        ]
        self.beta_v = video_weight(options.beta_v, options.effective_ddp)

    def __call__(self, x0: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """J, 0 without rows to judge, and numbers to log. A reward that is not finite is left out and counted."""
        order = batch.noise.uniform()
        u_image = torch.stack([batch.noise.uniform() for _ in range(self.options.reward_frames)], 1)
        u_video = batch.noise.uniform()
        rows = judged_rows(batch.short_prompt, order, self.options.reward_rows)
        if not rows:
            return x0.new_zeros(()), {"reward_skipped": 0.0}
        video = to_unit(self.student.decode(x0[rows]))
        prompts = [batch.short_prompt[row] for row in rows]
        found: dict[str, list[Tensor]] = {"image_text": [], "video_text": []}
        logs = {"reward_skipped": 0.0}
        for name, reward in self.rewards:
            value = reward(self._shown(reward, video, u_image[rows], u_video[rows]), prompts)
            if not torch.isfinite(value).all():
                logs["reward_skipped"] += 1
                continue
            logs[f"reward_{name}"] = value.detach().mean().item()
            found[reward.kind].append(reward.config.weight * value)
        j = reward_objective(found["image_text"], found["video_text"], self.options.beta_img, self.beta_v)
        return j.to(x0), logs

    def _shown(self, reward: Reward, video: Tensor, u_image: Tensor, u_video: Tensor) -> Tensor:
        frames = video.shape[2]
        if reward.kind == "image_text":
            return take_frames(video, random_frames(u_image, frames))
        return take_frames(video, strided_frames(u_video, reward.frames, frames))
