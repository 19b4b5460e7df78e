"""How much of a run is harness: time outside model and judge calls over the total, one cell in this process.

    uv run python benchmarks/bench_crank.py

Model calls are the method's loss, backward, the optimiser step, the sampler, text and pixel encoding and decoding;
judge calls are `metric.score`; the dataset's own rendering or decoding is listed apart. What is left is drawing rows,
noise, logging, snapshots, video files, hashing and fsync.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import registry, suite
from harness.executors import InProcess
from harness.job import load_backbone
from harness.plan import make_plan

spent: dict[str, float] = defaultdict(float)
depth = 0


def timed(owner: Any, name: str, label: str) -> None:
    """Count the wall time of `owner.name`, outermost call only."""
    inner: Callable[..., Any] = getattr(owner, name)

    def call(*args: Any, **options: Any) -> Any:
        global depth
        depth += 1
        began = time.perf_counter()
        try:
            return inner(*args, **options)
        finally:
            depth -= 1
            if depth == 0:
                spent[label] += time.perf_counter() - began

    setattr(owner, name, call)


def main() -> None:
    import torch
    from accelerate import Accelerator

    with tempfile.TemporaryDirectory() as folder:
        chosen = suite.load("quick")
        plan = make_plan(chosen, Path(folder), methods=["supervised-logitnormal"])
        backbone = load_backbone(plan, "cpu")  # loading is paid once per process, not per cell
        method = registry.methods.get(plan.cells[0].method)
        for name in ("encode", "encode_text", "decode", "predict"):
            timed(type(backbone), name, "codec and text")
        timed(registry.datasets.get(chosen.dataset["name"]), "video", "dataset pixels")
        timed(method, "loss", "loss")
        timed(Accelerator, "backward", "backward")
        timed(Accelerator, "clip_grad_norm_", "backward")
        timed(torch.optim.AdamW, "step", "optimiser")
        make_sampler = method.sampler

        def sampler(self: Any) -> Any:
            inner = make_sampler(self)

            class Timed:
                nfe = inner.nfe

                def __call__(self, *words: Any) -> Any:
                    return inner(*words)

            timed(Timed, "__call__", "sampler")
            return Timed()

        method.sampler = sampler
        for spec in plan.metrics:
            timed(registry.metrics.get(spec.name), "score", "judges")
        began = time.perf_counter()
        (outcome,) = InProcess().run(plan, "cpu", lambda *_: None)
        total = time.perf_counter() - began
    assert not outcome.problems, outcome.problems
    for label, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{label:<16} {seconds:7.2f} s  {seconds / total:6.1%}")
    outside = total - sum(spent.values())
    print(f"{'harness':<16} {outside:7.2f} s  {outside / total:6.1%}   (aim <= 5 %)")
    print(f"{'total':<16} {total:7.2f} s")


if __name__ == "__main__":
    main()
