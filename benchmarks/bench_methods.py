"""Step time of each method over plain supervised training, as ratios measured side by side in one run.

    python benchmarks/bench_methods.py                  # on a toy network: an upper bound, overhead weighs more there
    python benchmarks/bench_methods.py --suite quick    # on the backbone of a suite

A step is what the training loop does: draw rows, cut the batch, loss, backward, optimiser. Methods take turns within a
round, in an order that changes every round; a ratio is the median over rounds of (method / plain in the same round).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from harness import suite as suites
from harness.api import Backbone, Batch, ClipSpec, Noise, Services, derive_seed
from harness.config import validate
from harness.registry import backbones, methods
from tests.toys import ToyBackbone, ToyOptions

PLAIN = "supervised-logitnormal"


def load(suite: str | None) -> tuple[Backbone, ClipSpec]:
    """The backbone of a suite on CPU, or a toy of a few milliseconds a step."""
    if suite is None:
        return ToyBackbone(ToyOptions(hidden=8), torch.device("cpu")), ClipSpec()
    chosen = suites.load(suite)
    cls = backbones.get(chosen.backbone["name"])
    options = {key: value for key, value in chosen.backbone.items() if key != "name"}
    return cls.load(validate(cls.Config, options, "backbone"), torch.device("cpu")), chosen.clip


def stepper(name: str, base: Backbone, spec: ClipSpec, rows: int, batch: int) -> Callable[[int], None]:
    """A function that takes one training step of the method."""
    cls, student = methods.get(name), base.clone(trainable=True)
    random = np.random.default_rng(0)
    scores = {column: random.random(rows) for column in ("mq", "vq")}
    method = cls(validate(cls.Config, cls.preset, name), {"student": student}, Services(scores, rows))
    optimizer = torch.optim.AdamW(student.net.parameters(), lr=1e-4)
    pool = torch.randn(64, *base.latent_shape(spec), generator=torch.Generator().manual_seed(0))
    texts = base.encode_text([f"a red square moves {word}" for word in ("left", "right", "up", "down")])

    def step(number: int) -> None:
        index = method.draw(np.random.default_rng(derive_seed("data", number)), batch)
        optimizer.zero_grad(set_to_none=True)
        columns = {column: torch.from_numpy(values[index]) for column, values in scores.items()}
        noise = Noise("bench", number, rows=(0, batch, batch))
        data = Batch(torch.from_numpy(index), pool[index % 64], texts[index % 4], [""] * batch, columns, noise)
        loss, _ = method.loss("student", data, number)
        loss.backward()
        optimizer.step()

    return step


def measure(names: list[str], steppers: list[Callable[[int], None]], rounds: int) -> np.ndarray:
    """CPU seconds per step, `[rounds, methods]`, after three rounds of warming up; blind to who shares the cores."""
    seconds, order = np.zeros((rounds, len(names))), np.random.default_rng(1)
    for number in range(-3, rounds):
        for i in order.permutation(len(names)):
            start = time.process_time()
            steppers[i](number)
            if number >= 0:
                seconds[number, i] = time.process_time() - start
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", help="measure on this suite's backbone and clip size")
    parser.add_argument("--methods", default="tqd,ltd,data-filter,supervised-const2")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rows", type=int, default=100_000, help="size of the training set that scores are drawn for")
    args = parser.parse_args()

    torch.set_num_threads(1)
    names = [PLAIN, PLAIN, *args.methods.split(",")]  # plain twice: the second shows what the noise of a ratio is
    backbone, spec = load(args.suite)
    steppers = [stepper(name, backbone, spec, args.rows, args.batch) for name in names]
    seconds = measure(names, steppers, args.rounds)

    ratios = seconds / seconds[:, :1]
    draws = np.random.default_rng(2).integers(0, args.rounds, (2000, args.rounds))
    print(f"{names[0]}: {1e3 * np.median(seconds[:, 0]):.2f} ms of CPU a step, batch {args.batch}, {args.rows} rows")
    for i, name in enumerate(names[1:], 1):
        low, high = np.quantile(np.median(ratios[draws, i], axis=1), [0.025, 0.975])
        print(f"{name:24} / plain {np.median(ratios[:, i]):.4f}  [{low:.4f}, {high:.4f}]")


if __name__ == "__main__":
    main()
