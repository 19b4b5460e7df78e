"""Cost of the distribution matching family's turns over DMD's, as ratios measured side by side in one run.

    python benchmarks/bench_distillation.py                   # on the embedded backbone of suite quick
    python benchmarks/bench_distillation.py --rollout data    # the student starts from noised clips

A turn is what the training loop does: cut the batch, loss, backward, clip, optimiser. All rows have DMD's list, rollout
and guidance, so they differ by their terms alone. A step is a student turn and `ratio` (5) turns of the fake score.
Rows take turns within a round, in an order that changes every round; a ratio is the median over rounds of (row / dmd in
the same round). Every round all rows see the same noise, so the same times are picked.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.bench_methods import load
from harness.api import Backbone, Batch, ClipSpec, Noise, Services
from harness.config import merge, validate
from harness.registry import methods
from methods import avd, msm
from methods.dmd import DMD

ROWS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "dmd": (DMD.name, {}),
    "dmd again": (DMD.name, {}),  # shows what the noise of a ratio is
    "msm": (msm.MSM.name, {}),
    "dmd+tr": (avd.DmdTr.name, {}),
    "avd": (avd.AVD.name, {}),
}


def stepper(
    row: str, base: Backbone, spec: ClipSpec, size: int, shared: Mapping[str, Any]
) -> tuple[Callable[[str, int], None], int]:
    """A function that takes one turn of a role, and the fake score's turns per student turn."""
    name, options = ROWS[row]
    cls = methods.get(name)
    config = validate(cls.Config, merge(merge(cls.preset, options), shared), name)
    turns = {turn.role: turn for turn in cls.turns_for(config)}
    roles = {role: cls.build(config, role, base, role in turns) for role in cls.needs(config).roles}
    method = cls(config, roles, Services({}, rows=64))
    optimizers = {role: torch.optim.AdamW(roles[role].net.parameters(), lr=1e-6) for role in turns}
    pool = torch.randn(64, *base.latent_shape(spec), generator=torch.Generator().manual_seed(0))
    texts = base.encode_text([f"a red square moves {word}" for word in ("left", "right", "up", "down")])

    def batch(stream: str, number: int) -> Batch:
        index = torch.from_numpy(np.random.default_rng(number % 2**32).integers(0, 64, size))
        noise = Noise("bench", stream, number, rows=(0, size, size))
        return Batch(index, pool[index], texts[index % 4], [""] * size, {}, noise)

    def step(role: str, number: int) -> None:
        optimizers[role].zero_grad(set_to_none=True)
        loss, _ = method.loss(role, batch(role, number), number)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(roles[role].net.parameters(), turns[role].clip or float("inf"))
        optimizers[role].step()

    method.begin(batch("probe", 0))
    return step, turns["student"].every


def measure(
    steppers: Mapping[str, Callable[[str, int], None]], role: str, rounds: int, warm: int = 2
) -> dict[str, np.ndarray]:
    """CPU seconds of one turn of `role`, `[rounds]` for each row; blind to who shares the cores."""
    names, order = list(steppers), np.random.default_rng(1)
    seconds = {name: np.zeros(rounds) for name in names}
    for number in range(-warm, rounds):
        for i in order.permutation(len(names)):
            start = time.process_time()
            steppers[names[i]](role, number + warm)
            if number >= 0:
                seconds[names[i]][number] = time.process_time() - start
    return seconds


def interval(ratios: np.ndarray) -> str:
    """Median and its 95 % bootstrap interval."""
    draws = np.random.default_rng(2).integers(0, len(ratios), (2000, len(ratios)))
    low, high = np.quantile(np.median(ratios[draws], axis=1), [0.025, 0.975])
    return f"{np.median(ratios):.4f}  [{low:.4f}, {high:.4f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="quick", help="measure on this suite's backbone and clip size")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rollout", choices=("simulate", "data"), default="simulate")
    args = parser.parse_args()

    torch.set_num_threads(1)
    backbone, spec = load(args.suite)
    backbone.net.requires_grad_(False).eval()
    shared = {"rollout": args.rollout, "times": (1.0, 0.9, 0.757, 0.522), "guidance": 6.0, "score_shift": 5.0}
    made = {row: stepper(row, backbone, spec, args.batch, shared) for row in ROWS}
    steppers = {row: step for row, (step, _) in made.items()}
    every = made["dmd"][1]
    student, fake = (measure(steppers, role, args.rounds) for role in ("student", "fake"))

    first = next(iter(ROWS))
    print(f"rollout {args.rollout}, batch {args.batch}, {args.rounds} rounds; ms of CPU, medians:", end=" ")
    print(f"student turn {1e3 * np.median(student[first]):.0f}, fake turn {1e3 * np.median(fake[first]):.0f}")
    for row in list(ROWS)[1:]:
        steps = (student[row] + every * fake[row]) / (student[first] + every * fake[first])
        print(f"{row:10} / {first}: student turn {interval(student[row] / student[first])}, step {interval(steps)}")


if __name__ == "__main__":
    main()
