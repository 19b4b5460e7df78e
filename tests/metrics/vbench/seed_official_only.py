"""Seeded weights of the networks that only the official package has; runs inside its environment.

    python seed_official_only.py grit|tag2text FOLDER SEED

GRiT and Tag2Text are built by the package, filled with noise, given a vocabulary of a dozen words they know, and saved
under VBench's names, with a `bert-base-uncased` folder that has the real special tokens and no other real word.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import torch
from torch import nn

WORDS = ["red", "blue", "green", "white", "cat", "dog", "bus", "person", "beach", "street"]
SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
SIZE = 30522  # of BERT's vocabulary
FIRST = 2000  # number of the first of WORDS
START = (101, 104, SIZE, SIZE + 1)  # tokens that begin a text: of GRiT's two tasks, of Tag2Text's two


def vocabulary() -> list[str]:
    words = [f"[unused{index}]" for index in range(SIZE)]
    for word, index in SPECIAL.items():
        words[index] = word
    words[FIRST : FIRST + len(WORDS)] = WORDS
    for index, letter in enumerate("abcdefghijklmnopqrstuvwxyz|"):
        words[1000 + index] = letter
        words[1100 + index] = f"##{letter}"
    return words


def noise(name: str, like: torch.Tensor, seed: int) -> torch.Tensor:
    """Matrices and kernels of deviation 1 / sqrt(inputs), gains near 1, all else of deviation 0.1."""
    key = hashlib.sha256(f"{seed} {name}".encode()).digest()
    values = torch.randn(like.shape, generator=torch.Generator().manual_seed(int.from_bytes(key[:7], "big")))
    if like.ndim > 1:
        return values * values[0].numel() ** -0.5
    return 1 + 0.1 * values if name.endswith("weight") else 0.1 * values


@torch.no_grad()
def fill(model: nn.Module, seed: int) -> None:
    for name, value in model.named_parameters():
        value.copy_(noise(name, value, seed))


@torch.no_grad()
def teach(words: nn.Parameter, bias: nn.Parameter, spread: float, stop: float) -> None:
    """A text decoder that says nothing but WORDS, and stops now and then."""
    said = [*range(FIRST, FIRST + len(WORDS)), SPECIAL["[SEP]"]]
    kept = torch.zeros(len(words), 1)
    kept[[*said, *(index for index in START if index < len(words))]] = spread
    words.mul_(kept * words.shape[1] ** 0.5)
    bias.fill_(-1000.0)
    bias[said] = 0.0
    bias[SPECIAL["[SEP]"]] = stop


def grit(folder: Path, seed: int) -> None:
    from detectron2.modeling import build_model
    from vbench.third_party.grit_src.image_dense_captions import get_parser, setup_cfg

    model = build_model(setup_cfg(get_parser(torch.device("cpu"), "")))
    fill(model, seed)
    with torch.no_grad():
        model.proposal_generator.centernet_head.agn_hm.bias.fill_(-2.2)  # a few objects a frame
        model.proposal_generator.centernet_head.bbox_pred.bias.fill_(2.0)
        for predictor in model.roi_heads.box_predictor:
            predictor.cls_score.bias.copy_(torch.tensor([0.0, 0.0]))
    text = model.roi_heads.text_decoder.textual
    teach(text.embedding.words.weight, text.output.bias, 0.12, 0.0)
    be_brief(text)
    save(model, folder / "grit_model" / "grit_b_densecap_objectdet.pth")


@torch.no_grad()
def be_brief(text: nn.Module) -> None:
    """One word and a stop: GRiT's decoder computes its 196 picture tokens anew for every word, seconds on a CPU. The
    stop's own direction is in the place embeddings, against it at first, then for it, and survives the layers."""
    stop = text.embedding.words.weight[SPECIAL["[SEP]"]]
    places = text.embedding.positions.weight
    places.copy_(30 * (stop / stop.norm()).expand_as(places))
    places[0].neg_()
    for name, value in text.transformer.named_parameters():
        if name.endswith("output.dense.weight"):
            value.mul_(0.3)


def tag2text(folder: Path, seed: int) -> None:
    from transformers import BertConfig
    from vbench.third_party.tag2Text import tag2text as package

    (folder / "bert-base-uncased" / "config.json").write_text(BertConfig().to_json_string())
    start = package.BertModel.from_pretrained
    package.BertModel.from_pretrained = lambda name, config, **options: package.BertModel(config, **options)
    model = package.Tag2Text_Caption(image_size=384, vit="swin_b")
    package.BertModel.from_pretrained = start
    fill(model, seed)
    from safetensors.torch import save_file

    bert = package.BertModel(BertConfig(), add_pooling_layer=False).state_dict()
    save_file(
        {f"bert.{name}": value.contiguous() for name, value in bert.items()},
        folder / "bert-base-uncased" / "model.safetensors",
        {"format": "pt"},
    )
    decoder = model.text_decoder
    teach(decoder.bert.embeddings.word_embeddings.weight, decoder.cls.predictions.bias, 0.3, -1.0)
    save(model, folder / "caption_model" / "tag2text_swin_14m.pth")


def save(model: nn.Module, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model.state_dict()}, path)


if __name__ == "__main__":
    what, target, number = sys.argv[1], Path(sys.argv[2]).absolute(), int(sys.argv[3])
    bert = target / "bert-base-uncased"
    bert.mkdir(parents=True, exist_ok=True)
    (bert / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    (bert / "tokenizer_config.json").write_text('{"do_lower_case": true, "model_max_length": 512}')
    os.chdir(target)  # transformers takes the folder `bert-base-uncased` for the model
    torch.manual_seed(number)
    {"grit": grit, "tag2text": tag2text}[what](target, number)
