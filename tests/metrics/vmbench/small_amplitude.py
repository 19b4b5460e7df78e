"""The networks of VMBench's PAS in small, with random weights in the official layout.

Runs in the worker's environment. As a program, `python small_amplitude.py WEIGHTS REPOSITORY` writes the files. As a
worker's script it is official_env/worker.py itself, but for sizes: GroundingDINO's and SAM's layers, and the grid of
points. CoTracker3 is as large as the real one.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import torch

WORKER = Path(__file__).parents[3] / "metrics" / "vmbench" / "official_env" / "worker.py"
DETECTOR = {"num_queries": 6, "enc_layers": 1, "dec_layers": 1, "dim_feedforward": 64, "backbone": "swin_T_224_1k"}
BERT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
GRID = "6"  # points a side


def make_sam(checkpoint: str | None = None) -> torch.nn.Module:
    """The repository's own SAM with one narrow layer."""
    sam: torch.nn.Module = importlib.import_module("segment_anything.build_sam")._build_sam(32, 1, 2, [0], checkpoint)
    return sam


def make_small(options: Any) -> Any:
    options.merge_from_dict(DETECTOR)
    return options


def write_bert(folder: Path) -> None:
    """GroundingDINO's text encoder: a vocabulary of the words in the recorded requests."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "a", "block"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    BertModel(BertConfig(vocab_size=len(words), **BERT)).save_pretrained(folder)


def main(weights: Path, repository: Path) -> None:
    inside = repository / "Grounded-Segment-Anything"
    sys.path[:0] = [str(each) for each in (inside, inside / "GroundingDINO", inside / "segment_anything")]
    sys.path.append(str(repository / "co-tracker"))
    torch.manual_seed(0)
    weights.mkdir(parents=True)
    bert = weights / "google-bert" / "bert-base-uncased"
    write_bert(bert)
    torch.save(make_sam().state_dict(), weights / "sam_vit_h_4b8939.pth")
    build = importlib.import_module("GroundingDINO.groundingdino.models").build_model
    read = importlib.import_module("GroundingDINO.groundingdino.util.slconfig").SLConfig.fromfile
    config = inside / "GroundingDINO" / "groundingdino" / "config" / "GroundingDINO_SwinB.py"
    options = make_small(read(str(config)))
    options.merge_from_dict({"device": "cpu", "bert_base_uncased_path": str(bert)})
    torch.save({"model": build(options).state_dict()}, weights / "groundingdino_swinb_cogcoor.pth")
    tracker = importlib.import_module("cotracker.models.build_cotracker").build_cotracker(
        None, v2=False, offline=True, window_len=60
    )
    torch.save(tracker.state_dict(), weights / "scaled_offline.pth")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute())
elif __name__ == "tool":  # the name under which a worker's script is loaded
    spec = importlib.util.spec_from_file_location("worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    worker: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    pas = worker.pas

    def small_pas(device: str) -> tuple[str, list[str]]:
        config = importlib.import_module("GroundingDINO.groundingdino.util.slconfig").SLConfig
        read = config.fromfile
        config.fromfile = staticmethod(lambda name: make_small(read(name)))
        importlib.import_module("segment_anything").sam_model_registry["vit_h"] = make_sam
        script, words = pas(device)
        words[words.index("--grid_size") + 1] = GRID
        return script, words

    worker.PROGRAMS["pas"] = small_pas
    start, PACKAGES = worker.start, worker.PACKAGES
