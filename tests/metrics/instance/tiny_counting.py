"""A seeded YOLO-World of the real configuration, file names and formats, over a small CLIP.

Runs in the official environment with its layer `ops`, with the sources on PYTHONPATH:

    PYTHON tiny_counting.py FOLDER        writes what metrics/instance/weights.yaml lists for counting

The network is random, but its normalisations have seen a picture, and its head is biased so that some boxes pass the
threshold, on the coarsest grid alone.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import torch

WORKER = Path(__file__).parents[3] / "metrics" / "instance" / "yolo_env" / "worker.py"
CONFIG = "yolo_world_v2_l_vlpan_bn_2e-3_100e_4x8gpus_obj365v1_goldg_train_1280ft_lvis_minival.py"
WIDTH = 512  # of a text's features: the detector's text_channels
SILENT = -20.0  # the finer grids find nothing
THRESHOLD = -0.9445  # whose sigmoid is 0.28, above which a box counts
FOUND = 12  # so many answers of the coarsest grid are RARE above it in the pictures that `look` shows
RARE = 6.0  # other pictures are answered more strongly
GREY = 114  # of the border


def main(folder: Path) -> None:
    """CLIP, then the detector that holds a copy of it."""
    torch.manual_seed(0)
    spec = spec_from_file_location("worker", WORKER)
    worker = module_from_spec(spec)
    spec.loader.exec_module(worker)
    write_texts(folder / worker.TEXTS)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        official = worker.arrange(folder)
        config = official.Config.fromfile(f"vbench2/third_party/YOLO-World/{CONFIG}")
        model = official.init_detector(config, device="cpu")
        look(model)
        file = folder / worker.WEIGHTS
        file.parent.mkdir(parents=True)
        trained_on = {"classes": ("person",), "palette": None}
        meta = {"epoch": 20, "iter": 1, "cfg": config.pretty_text, "dataset_meta": trained_on}
        torch.save({"meta": meta, "state_dict": model.state_dict()}, file)
        os.chdir(folder)


def write_texts(folder: Path) -> None:
    """CLIP's real classes at a small size; its tokenizer over bytes, without merges."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizerFast
    from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

    folder.mkdir(parents=True)
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1, "pad_token_id": len(words) - 1}
    clip = CLIPModel(
        CLIPConfig(
            text_config={**size, **ends, "vocab_size": len(words), "projection_dim": WIDTH},
            vision_config={**size, "image_size": 64, "patch_size": 32, "projection_dim": WIDTH},
            projection_dim=WIDTH,
        )
    )
    with torch.no_grad():
        for name, values in clip.named_parameters():
            if values.ndim > 1:
                values.normal_(std=0.3)
            elif "norm" not in name:
                values.zero_()
    clip.save_pretrained(folder, safe_serialization=False)


def look(model: Any) -> None:
    """Show it two pictures like record_counting.py's: normalisations take their statistics, the head its bias."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for module in norms:
        module.train()
        module.momentum = 1.0
    pictures = np.full((2, 3, 16, 16), GREY / 255, np.float32)  # 12 x 16 colours, and the border that makes it square
    pictures[:, :, 2:14] = np.random.default_rng(0).random((2, 3, 12, 16), np.float32)
    seen = torch.from_numpy(pictures.repeat(80, 2).repeat(80, 3))
    head = model.bbox_head.head_module
    with torch.no_grad():
        for contrast in head.cls_contrasts:
            contrast.logit_scale.zero_()
            contrast.bias.fill_(SILENT)
        texts = model.backbone.forward_text([["cat", " "]] * 2)
        *_, coarse = head(model.neck(model.backbone.forward_image(seen), texts), texts)[0]
        last = coarse[0].flatten().sort(descending=True).values[FOUND]
        contrast.bias.add_(THRESHOLD - last - RARE)
    for module in norms:
        module.eval()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
