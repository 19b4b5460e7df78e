"""Records what the official vbench package says of the clips of `clips.py` under seeded weights.

    python tests/metrics/vbench/record.py --python <python of an environment with vbench==0.1.5> [--dimensions ...]

Runs in Mutoscope's environment; the package runs in its own, one dimension a process, one thread. The dimensions that
are asked for replace those of `official_outputs.json`, the others stay. The weights are the small ones of
`metrics.vbench.seeded`, so that tests can write them too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from harness.features import sha256_file
from metrics.vbench.seeded import write_all
from metrics.vbench.table import files
from tests.metrics.vbench.clips import SEED, SHOTS, write

HERE = Path(__file__).resolve().parent
OUTPUTS = HERE / "official_outputs.json"
GRIT = ("object_class", "multiple_objects", "color", "spatial_relationship")


def record(python: str, weights: Path, dino: Path | None, dimension: str, work: Path, names: list[str]) -> Any:
    """The official rows of one dimension."""
    clips = {
        name: asdict(SHOTS[name]) | {"path": str(path), "auxiliary": SHOTS[name].auxiliary}
        for name, path in write(work, *names).items()
    }
    if dimension == "subject_consistency":
        arrange_dino(weights, dino, work)
    (work / "bert-base-uncased").symlink_to(weights / "bert-base-uncased")  # transformers looks here first
    environment = {
        **os.environ,
        "VBENCH_CACHE_DIR": str(weights),
        "TORCH_HOME": str(work / "torch"),
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    task = {"dimension": dimension, "clips": clips, "work": str(work)}
    done = subprocess.run(
        [python, str(HERE / "official_run.py")],
        input=json.dumps(task),
        env=environment,
        cwd=work,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{dimension}: the official package failed, see above")
    return json.loads(done.stdout.splitlines()[-1])


def complete(weights: Path, python: str, dimensions: Sequence[str]) -> None:
    """What `metrics.vbench.seeded` does not write: a vocabulary, and the networks that only the package has."""
    import open_clip

    vocabulary = weights / "ViCLIP" / "bpe_simple_vocab_16e6.txt.gz"
    if not vocabulary.exists():
        vocabulary.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(open_clip.__file__).parent / vocabulary.name, vocabulary)
    wanted = {"scene": ("tag2text", "caption_model"), **dict.fromkeys(GRIT, ("grit", "grit_model"))}
    for network, folder in {wanted[name] for name in dimensions if name in wanted}:
        if not (weights / folder).exists():
            words = [python, str(HERE / "seed_official_only.py"), network, str(weights), str(SEED)]
            subprocess.run(words, check=True, env={**os.environ, "VBENCH_CACHE_DIR": str(weights)})


def arrange_dino(weights: Path, dino: Path | None, work: Path) -> None:
    """Where the package looks: the model's code in the weights folder, its weights in torch hub's."""
    code = weights / "dino_model" / "facebookresearch_dino_main"
    if not code.exists():
        if dino is None:
            raise SystemExit("subject_consistency: say with --dino where the model's code is")
        code.symlink_to(dino.resolve())
    hub = work / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    (hub / "dino_vitbase16_pretrain.pth").symlink_to((weights / "dino_model" / "dino_vitbase16_pretrain.pth").resolve())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="python of the official environment")
    parser.add_argument("--dimensions", nargs="+", required=True)
    parser.add_argument("--clips", nargs="+", choices=list(SHOTS), default=list(SHOTS))
    parser.add_argument("--dino", type=Path, help="checkout of facebookresearch/dino, for subject_consistency")
    parser.add_argument("--weights", type=Path, help="folder of seeded weights to reuse; written if it does not exist")
    parser.add_argument("--out", type=Path, default=OUTPUTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        weights = options.weights or Path(scratch) / "weights"
        if not weights.exists() and (named := [name for name in options.dimensions if files(name)]):
            write_all(weights, named, SEED, small=True)
        complete(weights, options.python, options.dimensions)
        for dimension in options.dimensions:
            work = Path(scratch) / dimension
            work.mkdir()
            result = record(options.python, weights.resolve(), options.dino, dimension, work, options.clips)
            outputs = json.loads(options.out.read_text()) if options.out.exists() else {"dimensions": {}}
            outputs |= {"seed": SEED, "versions": result.pop("versions"), "clips": digests(Path(scratch))}
            outputs["dimensions"][dimension] = result
            options.out.write_text(json.dumps(outputs, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def digests(scratch: Path) -> dict[str, str]:
    """Of the clips' files, so that another encoder is noticed."""
    return {name: sha256_file(path) for name, path in write(scratch).items()}


if __name__ == "__main__":
    main()
