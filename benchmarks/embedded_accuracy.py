"""How often clips of the embedded backbone show what their held-out captions say, as judged by the shapes reader."""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from harness.api import ClipSpec
from harness.backbones.wan import Wan, WanConfig
from harness.data.shapes import Shapes, ShapesConfig
from harness.rng import generator
from methods.supervised.sampler import MultistepCFG
from metrics.shapes.agreement import agree, total
from metrics.shapes.reader import read


def sample(model: Wan, prompts: list[str], sampler: MultistepCFG, batch: int) -> NDArray[np.uint8]:
    """Clips `[N, F, H, W, 3]`; the noise of clip i depends on i alone."""
    clips = []
    for first in range(0, len(prompts), batch):
        part = prompts[first : first + batch]
        shape = model.latent_shape(ClipSpec())
        noise = torch.stack([torch.randn(shape, generator=generator("accuracy", first + i)) for i in range(len(part))])
        with torch.no_grad():
            video = model.decode(sampler(model, noise, model.encode_text(part)))
        clips.append(((video + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 4, 1).numpy())
    return np.concatenate(clips)


def sheet(clips: NDArray[np.uint8], path: Path, columns: int = 4) -> None:
    """Five frames of each clip, side by side, `columns` clips a row."""
    n = len(clips) // columns * columns
    frames = clips[:n, ::4]
    _, f, h, w, _ = frames.shape
    grid = frames.reshape(n // columns, columns, f, h, w, 3).transpose(0, 3, 1, 2, 4, 5)
    Image.fromarray(np.ascontiguousarray(grid.reshape(n // columns * h, columns * f * w, 3))).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", default="embedded")
    parser.add_argument("--captions", type=int, default=256)
    parser.add_argument("--caption", choices=["short", "long"], default="short")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--shift", type=float, default=1.0)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)  # at this size more threads cost more than they bring
    data = Shapes(ShapesConfig(size=options.captions, seed=99, split="heldout", caption=options.caption), ClipSpec())
    rows = data.rows()
    model = Wan.load(WanConfig(path=options.path), torch.device("cpu"))
    begin = time.perf_counter()
    sampler = MultistepCFG(options.steps, options.guidance, options.shift)
    clips = sample(model, [row.prompt for row in rows], sampler, 16)
    spent = (time.perf_counter() - begin) / len(clips)
    found = total(agree(row.meta, read(clip)) for row, clip in zip(rows, clips, strict=True))
    print(
        f"{len(rows)} {options.caption} captions, {options.steps} steps, guidance {options.guidance},"
        f" shift {options.shift}: objects and colours {found.objects:.3f}, motion {found.motion:.3f},"
        f" direction {found.direction:.3f}, camera {found.camera:.3f}; {spent:.2f} s a clip"
    )
    if options.sheet:
        sheet(clips, options.sheet)


if __name__ == "__main__":
    main()
