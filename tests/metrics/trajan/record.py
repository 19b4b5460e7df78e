"""Runs the official TRAJAN on seeded parameters and stores its outputs, for the tests to compare with.

In an environment with jax, flax, einops and numpy, and a checkout of github.com/google-deepmind/tapnet:

    python record.py CHECKOUT OUT.npz [--default] [--old-noise] [--batch 2] ...

`--default` is the model of the published size; without it the fields in `seeded.SMALL` are shrunk.
"""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import seeded

NUMBERS = (
    "average_jaccard", "occlusion_accuracy", "average_pts_within_thresh",
    *(f"jaccard_{t}" for t in (1, 2, 4, 8, 16)), *(f"pts_within_{t}" for t in (1, 2, 4, 8, 16)),
)  # fmt: skip
SIZES = ((832, 480), (256, 256))
RULES = ("colab", "visible_and_certain")


def tree(flat: dict[str, Any]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for name, value in flat.items():
        node = root
        *parents, last = name.split("/")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return root


def function(path: Path, name: str, **known: Any) -> Any:
    """One function of a file, without what else the file imports."""
    found = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef) and n.name == name]
    exec(compile(ast.Module(found, []), str(path), "exec"), known)
    return known[name]


def numbers(checkout: Path, out: Any, boundary: int, size: tuple[int, int], rule: str) -> list[float]:
    """The last cell of the colab on the first clip of these outputs: the numbers in the order of NUMBERS."""
    import jax

    metrics = function(checkout / "tapnet/tapvid/evaluation_datasets.py", "compute_tapvid_metrics", np=np, Mapping=dict)
    hide = function(checkout / "tapnet/utils/model_utils.py", "postprocess_occlusions", jax=jax)
    convert = function(
        checkout / "tapnet/utils/transforms.py",
        "convert_grid_coordinates",
        np=np,
        Sequence=tuple,
        chex=SimpleNamespace(Array=Any),
    )
    true_tracks, seen = seeded.targets(np.asarray(out.tracks))
    hidden = hide(out.visible_logits, out.certain_logits) if rule == "colab" else 1 - out.visible_and_certain
    found = metrics(
        query_points=np.zeros((1, out.tracks.shape[1], 1)),
        gt_occluded=1 - seen[:1, :, :boundary, 0],
        gt_tracks=np.asarray(convert(true_tracks[:1], (1, 1), size))[..., :boundary, :],
        pred_occluded=np.asarray(hidden[:1, :, :boundary, 0]).astype(bool),
        pred_tracks=np.asarray(convert(out.tracks[:1], (1, 1), size))[..., :boundary, :],
        query_mode="strided",
    )
    return [float(found[name][0]) for name in NUMBERS]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--default", action="store_true", help="the published size")
    parser.add_argument("--old-noise", action="store_true", help="the random numbers of JAX before 0.5")
    options = parser.parse_args()
    sys.path.insert(0, str(options.checkout))
    import jax

    jax.config.update("jax_threefry_partitionable", not options.old_noise)
    from tapnet.trajan.track_autoencoder import TrackAutoEncoder

    config = seeded.DEFAULT if options.default else seeded.SMALL
    params = {"params": tree(seeded.parameters(config))}
    batch = seeded.inputs(150, (49, 150), 40, 32) if options.default else seeded.inputs(24, (17, 24, 0), 20, 8)
    model = TrackAutoEncoder(**config)
    latents = model.apply(params, batch, method=model.encode)

    def decode(module: Any, inputs: Any, given: Any) -> Any:
        context = TrackAutoEncoder.get_decoder_context.__wrapped__(module, inputs)
        return TrackAutoEncoder.decode.__wrapped__(module, given, context)

    out = model.apply(params, batch, latents, method=decode)
    whole = TrackAutoEncoder(**config, decoder_scan_chunk_size=8).apply(params, batch)
    stored = {
        "latents": latents, "tracks": out.tracks, "visible_logits": out.visible_logits,
        "certain_logits": out.certain_logits, "chunked_tracks": whole.tracks,
        "chunked_visible_logits": whole.visible_logits, "visible_and_certain": out.visible_and_certain,
    }  # fmt: skip
    arrays = {name: np.asarray(value, np.float32) for name, value in stored.items()}
    boundary = int(batch["boundary_frame"][0])
    scores = [[numbers(options.checkout, out, boundary, size, rule) for size in SIZES] for rule in RULES]
    arrays["numbers"] = np.array(scores)  # rules, sizes, NUMBERS
    np.savez_compressed(options.out, **arrays, jax=np.array(jax.__version__))
    print(arrays["numbers"], {name: (value.shape, float(np.abs(value).mean())) for name, value in arrays.items()})


if __name__ == "__main__":
    main()
