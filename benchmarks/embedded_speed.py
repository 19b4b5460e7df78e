"""What one call of the embedded backbone costs on one thread: generation, fine-tuning, codec, text."""

import time
from collections.abc import Callable

import torch

from harness.api import ClipSpec
from harness.backbones.wan import Wan, WanConfig


def seconds(work: Callable[[], object], repeats: int = 10) -> float:
    """The fastest of `repeats` calls, after one to warm up."""
    work()
    spent = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begin)
    return min(spent)


def main() -> None:
    torch.set_num_threads(1)
    model = Wan.load(WanConfig(), torch.device("cpu"))
    student = model.clone(trainable=True)
    batch = 8
    x = torch.randn(batch, *model.latent_shape(ClipSpec()))
    t, cond = torch.rand(batch), model.encode_text(["a red square drifts left"] * batch)

    def forward() -> None:
        with torch.no_grad():
            model.predict(x, t, cond, "flow")

    def step() -> None:
        student.predict(x, t, cond, "flow").square().mean().backward()

    video = model.decode(x).detach()
    for name, work in {
        "forward": forward,
        "forward and backward": step,
        "encode": lambda: model.encode(video),
        "decode": lambda: model.decode(x),
        "encode_text": lambda: model.encode_text(["a red square drifts left"] * batch),
    }.items():
        print(f"{name:22s} {1000 * seconds(work) / batch:7.2f} ms a clip")


if __name__ == "__main__":
    main()
