"""The motion judge's networks in small, with random weights in the official layout.

Runs in the worker's environment. As a program, `python small_motion.py WEIGHTS`, the sources on PYTHONPATH, writes the
files. As a worker's script it is motion_env/worker.py itself, but for sizes: SAM's and GroundingDINO's layers, and the
number of tracked points on smaller frames. RAFT and CoTracker are as large as the real ones.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import torch

WORKER = Path(__file__).parents[3] / "metrics" / "compbench" / "motion_env" / "worker.py"
DETECTOR = {"num_queries": 6, "enc_layers": 1, "dec_layers": 1, "dim_feedforward": 64}
TRACKED = ["--height=96", "--width=160", "--num_tracks=32", "--sim_tracks=32"]
TRACKERS = {  # config of the tracker's repository: file
    "raft_patch_8": "cvo_raft_patch_8.pth",
    "raft_patch_4_alpha": "movi_f_raft_patch_4_alpha.pth",
    "cotracker2_patch_4_wind_8": "movi_f_cotracker2_patch_4_wind_8.pth",
}
BERT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}


def make_sam(checkpoint: str | None = None) -> torch.nn.Module:
    """The repository's own SAM with one narrow layer."""
    sam: torch.nn.Module = importlib.import_module("segment_anything.build_sam")._build_sam(32, 1, 2, [0], checkpoint)
    return sam


def write_bert(folder: Path) -> None:
    """GroundingDINO's text encoder: a vocabulary of the words in the recorded prompts."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "a", "the", "ball", "puppy", "runs", "left"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    BertModel(BertConfig(vocab_size=len(words), **BERT)).save_pretrained(folder)


def main(weights: Path) -> None:
    from GroundingDINO.groundingdino.models import build_model
    from GroundingDINO.groundingdino.util.slconfig import SLConfig

    torch.manual_seed(0)
    weights.mkdir(parents=True)
    os.chdir(weights)
    write_bert(Path("bert-base-uncased"))
    torch.save(make_sam().state_dict(), "sam_vit_h_4b8939.pth")
    package = Path(sys.modules["GroundingDINO"].__path__[0]) / "groundingdino"
    options = SLConfig.fromfile(str(package / "config" / "GroundingDINO_SwinT_OGC.py"))
    options.merge_from_dict({**DETECTOR, "device": "cpu"})
    torch.save({"model": build_model(options).state_dict()}, "groundingdino_swint_ogc.pth")
    shelf, io = importlib.import_module("dot.models.shelf"), importlib.import_module("dot.utils.io")
    configs = Path(sys.modules["dot"].__path__[0]).parent / "configs"
    for name, file in TRACKERS.items():
        made = io.read_config(str(configs / f"{name}.json"))
        network = (shelf.RAFT if made.name == "raft" else shelf.CoTracker2)(made)
        if getattr(made, "refine_alpha", False):
            move(network.update_block)
        torch.save(network.state_dict(), file)


def move(block: Any) -> None:
    """Points stay visible, and go somewhere."""
    with torch.no_grad():
        block.alpha_head.conv2.bias.fill_(5.0)
        block.flow_head.conv2.weight.mul_(8.0)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
elif __name__ == "tool":  # the name under which a worker's script is loaded
    spec = importlib.util.spec_from_file_location("worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    worker: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    track_words, scripts = worker.track_words, worker.scripts

    def small_scripts() -> tuple[Any, Any]:
        seg, trackers = scripts()
        read = seg.SLConfig.fromfile

        def fromfile(name: str) -> Any:
            options = read(name)
            options.merge_from_dict(DETECTOR)
            return options

        seg.SLConfig.fromfile = fromfile
        seg.sam_model_registry["vit_h"] = make_sam
        return seg, trackers

    worker.scripts = small_scripts
    worker.track_words = lambda *words: [*track_words(*words), *TRACKED]
    start, PACKAGES = worker.start, worker.PACKAGES
