"""Sampling at half the frame rate while noise is high (S3) over plain few-step sampling (S2), in one run.

    python benchmarks/bench_vif.py                       # 5 and 21 latent frames on the embedded backbone
    python benchmarks/bench_vif.py --frames 17 --batch 4

Untrained networks cost what trained ones do, so none is trained. The samplers take turns within a round, in an order
that changes every round; a ratio is the median over rounds of (S3 / S2 in the same round). "bound" is what S3 would
cost if a call cost its share of frames and interpolation nothing, from the counted frames.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from harness.api import Backbone, ClipSpec
from harness.config import validate
from harness.counted import Count, counted
from harness.registry import backbones
from methods.avd.frame_plan import FramePlan
from methods.avd.vif import AvdVifOptions, Vif
from methods.fewstep import Renoise


def load() -> Backbone:
    cls = backbones.get("wan")
    return cls.load(validate(cls.Config, {"path": "embedded"}, "backbone"), torch.device("cpu"))


def samplers(base: Backbone) -> dict[str, Renoise]:
    """S2, S2 again (what the noise of a ratio is) and S3, with the times of one method."""
    options = AvdVifOptions()
    interp = Vif.build(Vif.Config(), "interp", base, False)
    plain = Renoise(options.times)
    return {"S2": plain, "S2 again": plain, "S3": FramePlan(options.times, interp, options.low_steps)}


def clip(base: Backbone, spec: ClipSpec, batch: int) -> Callable[[Renoise], Count]:
    """A function that samples one batch with a sampler and says what it cost in evaluations."""
    noise = torch.randn(batch, *base.latent_shape(spec), generator=torch.Generator().manual_seed(0))
    cond = base.encode_text(["a red square drifts left"] * batch)

    def sample(sampler: Renoise) -> Count:
        count = Count()
        sampler(counted(base, count), noise, cond, [torch.Generator().manual_seed(i) for i in range(batch)])
        return count

    return sample


def measure(sample: Callable[[Renoise], Count], kinds: list[Renoise], rounds: int) -> np.ndarray:
    """(wall, CPU) seconds of each sampler, `[2, rounds, samplers]`, after one round to warm up."""
    seconds, order = np.zeros((2, rounds, len(kinds))), np.random.default_rng(1)
    for number in range(-1, rounds):
        for i in order.permutation(len(kinds)):
            wall, cpu = time.perf_counter(), time.process_time()
            sample(kinds[i])
            if number >= 0:
                seconds[:, number, i] = time.perf_counter() - wall, time.process_time() - cpu
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[17, 81], help="pixel frames of a clip")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args()

    torch.set_num_threads(1)
    base = load()
    kinds = samplers(base)
    for frames in args.frames:
        sample = clip(base, ClipSpec(frames=frames), args.batch)
        seen = {name: sample(sampler).frames / args.batch for name, sampler in kinds.items()}
        seconds = measure(sample, list(kinds.values()), args.rounds)
        once = 1e3 * np.median(seconds[0, :, 0]) / args.batch
        print(f"{frames} frames: S2 {once:.1f} ms a clip, {seen['S2']:.0f} latent frames seen")
        for i, name in enumerate(kinds):
            if i:
                wall, cpu = np.median(seconds[:, :, i] / seconds[:, :, 0], axis=1)
                print(f"  {name:9} / S2  wall {wall:.3f}  CPU {cpu:.3f}  bound {seen[name] / seen['S2']:.3f}")


if __name__ == "__main__":
    main()
