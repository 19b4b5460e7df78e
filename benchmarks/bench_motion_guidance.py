"""Step time of distillation with prepared motion guidance over the same without, measured side by side in one run.

    python benchmarks/bench_motion_guidance.py            # on the backbone of suite quick, without rewards
    python benchmarks/bench_motion_guidance.py --rewards shapes-reader,shapes-video-text

A step is what the training loop does: read the tuples of its rows, loss, backward, optimiser. Both take turns within
a round, in an order that changes; a ratio is the median over rounds of (guided / plain in the same round). Plain runs
twice: the second shows what the noise of a ratio is. What preparing costs is printed too: it is paid once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from harness import suite as suites
from harness.api import Backbone, Batch, ClipSpec, Method, Noise, Services
from harness.config import merge, validate
from harness.registry import backbones, make_part, methods
from harness.stages import Artefacts

PLAIN, GUIDED = "t2v-turbo-v2-nomg", "t2v-turbo-v2"
CLIPS = 64
WORDS = ("left", "right", "up", "down")


def load(name: str) -> tuple[Backbone, ClipSpec]:
    """The frozen backbone of a suite on CPU."""
    suite = suites.load(name)
    cls = backbones.get(suite.backbone["name"])
    options = {key: value for key, value in suite.backbone.items() if key != "name"}
    backbone = cls.load(validate(cls.Config, options, "backbone"), torch.device("cpu"))
    backbone.net.requires_grad_(False).eval()
    return backbone, suite.clip


class Clips:
    """Random latents with captions, and what stages prepared of them."""

    def __init__(self, base: Backbone, spec: ClipSpec) -> None:
        self.latent = torch.randn(CLIPS, *base.latent_shape(spec), generator=torch.Generator().manual_seed(0))
        self.prompt = [f"a red square moves {WORDS[row % 4]}" for row in range(CLIPS)]
        self.cond = base.encode_text(self.prompt)

    def batch(self, rows: Sequence[int], name: object, extras: Mapping[str, torch.Tensor]) -> Batch:
        index, prompts = torch.tensor(rows), [self.prompt[row] for row in rows]
        noise = Noise("bench", name, rows=(0, len(rows), len(rows)))
        return Batch(index, self.latent[index], self.cond[index], prompts, {}, noise, prompts, extras)


def build(name: str, base: Backbone, settings: Mapping[str, Any]) -> Method:
    """The method on roles made as the training loop makes them."""
    cls = methods.get(name)
    config = validate(cls.Config, merge(cls.preset, settings), name)
    trained = {turn.role for turn in cls.turns_for(config)}
    roles = {role: cls.build(config, role, base, role in trained) for role in cls.needs(config).roles}
    return cls(config, roles, Services({}, CLIPS))


def prepare(method: Method, base: Backbone, clips: Clips, folder: Path) -> list[Artefacts]:
    """The method's stages on every clip, written as the harness writes them."""
    found = []
    for spec in method.needs(method.config).stages:
        stage, start = make_part("stage", spec, base, method.services), time.process_time()
        for number in range(CLIPS // stage.group):
            rows = range(number * stage.group, (number + 1) * stage.group)
            save_file(dict(stage.compute(clips.batch(rows, number, {}))), folder / f"{number:06d}.safetensors")
        seconds = time.process_time() - start
        print(f"prepare {spec['name']}: {1e3 * seconds / CLIPS:.0f} ms of CPU a clip, solver_steps {spec['steps']}")
        found.append(Artefacts(folder, stage.group))
    return found


def stepper(method: Method, clips: Clips, artefacts: Sequence[Artefacts], size: int) -> Callable[[int], None]:
    """A function that takes one training step of the method."""
    optimizer = torch.optim.AdamW(method.roles["student"].net.parameters(), lr=1e-5)

    def step(number: int) -> None:
        rows = np.random.default_rng(abs(number)).integers(0, CLIPS, size).tolist()
        extras = {name: value for kept in artefacts for name, value in kept.batch(rows).items()}
        optimizer.zero_grad(set_to_none=True)
        loss, _ = method.loss("student", clips.batch(rows, number, extras), number)
        loss.backward()
        optimizer.step()

    return step


def measure(steppers: Sequence[Callable[[int], None]], rounds: int) -> np.ndarray:
    """CPU seconds per step, `[rounds, steppers]`, after three rounds of warming up; blind to who shares the cores."""
    seconds, order = np.zeros((rounds, len(steppers))), np.random.default_rng(1)
    for number in range(-3, rounds):
        for i in order.permutation(len(steppers)):
            start = time.process_time()
            steppers[i](number)
            if number >= 0:
                seconds[number, i] = time.process_time() - start
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="quick", help="whose backbone and clip size")
    parser.add_argument("--rewards", default="", help="parts of kind reward, by comma")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--solver-steps", type=int, default=20)
    args = parser.parse_args()

    torch.set_num_threads(1)
    base, spec = load(args.suite)
    rewards = [{"name": name} for name in args.rewards.split(",") if name]
    settings = {"solver_steps": args.solver_steps, "shift": 1.0, "rewards": rewards}
    clips, names = Clips(base, spec), [PLAIN, PLAIN, GUIDED]
    with tempfile.TemporaryDirectory() as folder:
        built = [build(name, base, settings) for name in names]
        kept = [prepare(method, base, clips, Path(folder)) for method in built]
        seconds = measure([stepper(m, clips, k, args.batch) for m, k in zip(built, kept, strict=True)], args.rounds)

    ratios = seconds / seconds[:, :1]
    draws = np.random.default_rng(2).integers(0, args.rounds, (2000, args.rounds))
    print(f"{PLAIN}: {1e3 * np.median(seconds[:, 0]):.0f} ms of CPU a step, batch {args.batch}")
    for i, name in enumerate(names[1:], 1):
        low, high = np.quantile(np.median(ratios[draws, i], axis=1), [0.025, 0.975])
        print(f"{name:20} / plain {np.median(ratios[:, i]):.3f}  [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
