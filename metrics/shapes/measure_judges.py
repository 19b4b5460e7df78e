"""What `shapes/alignment` and `shapes/instance_preservation` see of held-out clips: the tables of their cards.

    OMP_NUM_THREADS=1 python -m metrics.shapes.measure_judges

Prints how often the reader is right, and how well both judges tell real clips from damaged ones and from clips in which
the world itself was changed half way: a thing is no longer drawn, comes in only then, or goes on in another colour.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.api import Backbone, ClipSpec, derive_seed
from harness.corruptions import CORRUPTIONS
from harness.data.shapes import Shapes, ShapesConfig
from harness.data.world import COLOURS, Scene, render
from harness.registry import backbones
from metrics.shapes.agreement import Agreement, agree, total
from metrics.shapes.augment import augment
from metrics.shapes.colours import to_raster
from metrics.shapes.instances import follow
from metrics.shapes.measure_quality import auc
from metrics.shapes.reader import read
from metrics.shapes.train_quality import through_codec

READ, READ_SEED = 1000, 0  # clips that are read for the table of accuracies
SEPARATED, SEED = 100, 47  # clips of the comparison of real with damaged; nothing was chosen on this stream
RIGHT = ("objects", "motion", "direction", "camera")
HEAD = "| clips | alignment | AUC | instances | intact | AUC |\n| --- | --- | --- | --- | --- | --- |"

Frames = NDArray[np.uint8]
Scores = Mapping[str, NDArray[np.float64]]


def accuracies(count: int) -> Iterator[str]:
    """How often the reader is right: clips as rendered, damaged as in training, through the shipped autoencoder."""
    data = Shapes(ShapesConfig(size=count, seed=READ_SEED, split="heldout"), ClipSpec())
    model = autoencoder()
    ways: dict[str, Callable[[int, Frames], Frames]] = {
        "clean": lambda index, frames: frames,
        "damaged": damaged,
        "codec": lambda index, frames: through_autoencoder(model, frames),
    }
    yield f"| clips | n | {' | '.join(RIGHT)} |\n| --- | --- {'| --- ' * len(RIGHT)}|"
    for name, way in ways.items():
        found: list[Agreement] = []
        errors: list[float] = []
        for index, row in enumerate(data.rows()):
            frames = data.video(index)
            shown = way(index, frames)
            errors.append(float(np.square(shown.astype(np.float64) - frames).mean()))
            found.append(agree(row.meta, read(shown)))
        all_of = total(found)
        shares = [getattr(all_of, part) for part in RIGHT]
        cells = ["-" if share is None else f"{share:.4f}" for share in shares]
        ratio = f" ({np.mean([10 * np.log10(255**2 / e) for e in errors]):.1f} dB)" if name == "codec" else ""
        counts = f"{len(found)} clips, {all_of.captioned} objects, {all_of.drifting} drifts, {all_of.spurious} spurious"
        yield f"| {name}{ratio} | {counts} | {' | '.join(cells)} |"


def damaged(index: int, frames: Frames) -> Frames:
    """As `train_reader` damages the clip of this number when it measures."""
    rng = np.random.default_rng(derive_seed(READ_SEED, "damage", index))
    return np.rint(255 * augment(to_raster(frames), rng)).astype(np.uint8)


def autoencoder() -> Backbone:
    """The embedded backbone, for its autoencoder."""
    kind: Any = backbones.get("wan")
    model: Backbone = kind.load(kind.Config(), torch.device("cpu"))
    return model


def through_autoencoder(model: Backbone, frames: Frames) -> Frames:
    """What is left of frames `[F, H, W, 3]` after latents."""
    video = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    with torch.no_grad():
        back = model.decode(model.encode(video))[0]
    return ((back.permute(1, 2, 3, 0) + 1) * 127.5).round().clamp(0, 255).byte().numpy()


# ---- real clips against damaged ones ------------------------------------------------------------------------------


def separation(count: int) -> Iterator[str]:
    """Mean scores, and the chance that a real clip scores above a damaged one, for every kind of damage."""
    data = Shapes(ShapesConfig(size=20 * count, seed=SEED, split="heldout"), ClipSpec())
    fits = (i for i in range(20 * count) if data.scene(i).cast.lively and len(data.scene(i).cast.things) > 1)
    chosen = list(islice(fits, count))
    real = judged(data, chosen, lambda index: data.video(index))
    yield HEAD
    yield line("real", real, real)
    for name, corruption in CORRUPTIONS.items():
        yield line(name, real, judged(data, chosen, partial(corrupted, corruption.apply, data)))
    for name, change in CHANGES.items():
        yield line(name, real, judged(data, chosen, partial(change, data)))


def judged(data: Shapes, chosen: Sequence[int], shown: Callable[[int], Frames]) -> Scores:
    """Both scores of every clip, read back from a clip file, against its captions; NaN where there is none."""
    found = np.full((2, len(chosen)), np.nan)
    for place, index in enumerate(chosen):
        frames = through_codec(shown(index))
        aligned, history = agree(data.rows()[index].meta, read(frames)).value, follow(frames, ClipSpec().fps)
        found[:, place] = np.nan if aligned is None else aligned, np.nan if history is None else history.preserved
    return {"alignment": found[0], "instances": found[1]}


def corrupted(apply: Callable[..., Frames], data: Shapes, index: int) -> Frames:
    return apply(data.video(index), derive_seed(SEED, index))


def vanishing(data: Shapes, index: int) -> Frames:
    """A thing that nothing passes behind is not drawn from half way on."""
    return spliced(data.scene(index), without(data.scene(index)))


def appearing(data: Shapes, index: int) -> Frames:
    return spliced(without(data.scene(index)), data.scene(index))


def recoloured(data: Shapes, index: int) -> Frames:
    """The same thing goes on in a colour that nothing else has."""
    scene = data.scene(index)
    things = list(scene.cast.things)
    free = next(colour for colour in COLOURS if colour not in {thing.colour for thing in things})
    things[loose(scene)] = replace(things[loose(scene)], colour=free)
    return spliced(scene, replace(scene, cast=replace(scene.cast, things=tuple(things))))


CHANGES: Mapping[str, Callable[[Shapes, int], Frames]] = {
    "a thing vanishes": vanishing,
    "a thing appears": appearing,
    "a thing changes colour": recoloured,
}


def loose(scene: Scene) -> int:
    """The last thing that no other passes behind."""
    covers = {thing.behind for thing in scene.cast.things}
    return max(set(range(len(scene.cast.things))) - covers)


def without(scene: Scene) -> Scene:
    """The scene less its `loose` thing; the others keep their places and motions."""
    gone = loose(scene)
    kept = [i for i in range(len(scene.bodies)) if i != gone]
    things = [scene.cast.things[i] for i in kept]
    things = [t if t.behind is None else replace(t, behind=kept.index(t.behind)) for t in things]
    bodies = tuple(scene.bodies[i] for i in kept)
    return replace(scene, cast=replace(scene.cast, things=tuple(things)), bodies=bodies)


def spliced(first: Scene, second: Scene) -> Frames:
    """The first half of one scene and the second half of the other."""
    frames, later = render(first), render(second)
    half = len(frames) // 2
    return np.concatenate([frames[:half], later[half:]])


def line(about: str, real: Scores, found: Scores) -> str:
    """Mean of each score and its AUC, and the share of clips that kept all instances; clips without a score apart."""
    known = {name: (real[name][~np.isnan(real[name])], values[~np.isnan(values)]) for name, values in found.items()}
    means = {name: f"{values.mean():.3f}" for name, (_, values) in known.items()}
    areas = {name: f"{auc(*pair):.3f}" for name, pair in known.items()}
    intact = f"{(known['instances'][1] == 1).mean():.2f}"
    both = [means["alignment"], areas["alignment"], means["instances"], intact, areas["instances"]]
    return f"| {about} | {' | '.join(both)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--read", type=int, default=READ, help="clips that are read for the accuracies")
    parser.add_argument("--clips", type=int, default=SEPARATED, help="clips of the comparison of real with damaged")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for table in (accuracies(options.read), separation(options.clips)):
        for text in table:
            print(text, flush=True)
        print()


if __name__ == "__main__":
    main()
