"""VideoPhy-2 AutoEval by the official script, a clip at a time: run by `metrics/workers/serve.py`.

The model is loaded with the lines of the script's `main`, once; every request calls its `inference` on tables of one
row. What it answers is the text that the script decoded, and the score that the script made of it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import pandas
import torch

PACKAGES = ("torch", "transformers", "tokenizers", "sentencepiece", "decord", "numpy", "pillow")


def start(arguments: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """`weights`: the checkpoint's folder. A request has a path, a caption and perhaps a rule."""
    torch.set_num_threads(arguments["threads"])
    torch.load = functools.partial(torch.load, weights_only=True)
    checkpoint = arguments["weights"]
    sys.argv = ["inference.py", "--input_csv=", "--output_csv=", f"--checkpoint={checkpoint}"]
    import inference as official  # reads its arguments when imported

    tokenizer = official.LlamaTokenizer.from_pretrained(checkpoint)
    images = official.MplugOwlImageProcessor.from_pretrained(checkpoint)
    processor = official.MplugOwlProcessor(images, tokenizer)
    model = official.MplugOwlForConditionalGeneration.from_pretrained(
        checkpoint, torch_dtype=torch.bfloat16, device_map={"": "cpu"}
    )
    model.eval()
    model = model.to(pick(arguments["device"])).to(torch.bfloat16)

    def ask(task: str, row: dict[str, Any]) -> tuple[str, int]:
        official.args.task = task
        heard = Heard(tokenizer)
        table = official.inference(official.args, model, pandas.DataFrame([row]), processor, heard)
        return heard.only(), int(table["score"][0])

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        row = {"videopath": request["path"], "caption": request["caption"], "rule": request.get("rule", "")}
        said = {task: ask(task, row) for task in ("sa", "pc", *(["rule"] if "rule" in request else []))}
        return {
            "replies": {task: reply for task, (reply, _) in said.items()},
            "scores": {task: score for task, (_, score) in said.items()},
        }

    return answer


class Heard:
    """The tokenizer, with its ears open: the script prints the reply and keeps only the number."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.replies: list[str] = []

    def decode(self, *words: Any, **options: Any) -> str:
        self.replies.append(self.tokenizer.decode(*words, **options))
        return self.replies[-1]

    def only(self) -> str:
        (reply,) = self.replies
        return reply


def pick(device: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
