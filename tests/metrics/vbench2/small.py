"""Small or seeded networks of the real classes, in the published files, for `record.py`.

Runs in the official environment, with its sources on PYTHONPATH and HF_HOME a new folder:

    PYTHON small.py FOLDER              what metrics/vbench2/weights.yaml lists, but for human_anatomy
    PYTHON small.py FOLDER anatomy      what it lists for human_anatomy; needs the layer `anatomy`
"""

from __future__ import annotations

import os
import sys
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import torch

HERE = Path(__file__).resolve().parent
WORKER = HERE.parents[2] / "metrics" / "vbench2" / "official_env" / "worker.py"
COUNTING = HERE.parent / "instance" / "tiny_counting.py"  # has a small CLIP


def main(folder: Path, part: str = "") -> None:
    sys.path.insert(0, str(HERE))
    worker = load(WORKER)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        os.environ["TORCH_HOME"] = place
        worker.arrange(folder)
        if part == "anatomy":
            from small_anatomy import write_anatomy

            write_anatomy(folder, worker, load(COUNTING))
        else:
            from small_language import SIGLIP, write_llava, write_qwen
            from small_vision import write_vision

            write_qwen(folder / "Qwen" / "Qwen2.5-7B-Instruct")
            write_llava(folder / "lmms-lab" / "LLaVA-Video-7B-Qwen2", folder / SIGLIP)
            write_vision(folder)
        os.chdir(HERE)


def load(file: Path) -> ModuleType:
    """A script of ours as a module."""
    spec = spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), *sys.argv[2:])
