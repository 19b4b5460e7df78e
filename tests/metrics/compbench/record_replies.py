"""Records `official_replies.json`: what the official scripts make of made-up replies, from their own `eval_model`.

Runs in the worker's environment, T2V-CompBench's MLLM_eval and LLaVA's repository on PYTHONPATH:

    python record_replies.py OUT

LLaVA is replaced by a speaker that says the next reply of a list; all else is the scripts' own.
"""

import csv
import json
import random
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import cv2
import eval_action_binding
import eval_dynamic_attr
import numpy as np
import torch

torch.Tensor.cuda = lambda self, *words, **options: self
DRAW = random.Random(0)
ODD = [
    "I cannot tell.", "", '{"score": 4}', '{"score": 4.5, "explanation": "x"}', '{"score": "3", "explanation": "x"}',
    'Sure! {"score": 2, "explanation": "x"} I hope it helps.', '{"Score": 2, "explanation": "x"}',
    '{"score": 9, "why": 1}',
    '{"score":1,"explanation":"x"}', "{'score': 1, 'explanation': 'x'}", '{"score": null, "explanation": "x"}', "[1]",
    '{"explanation": {"score": 3, "x": 1}, "score": 5}',
]  # fmt: skip


class Speaker:
    """Stands for LLaVA's tokenizer and model."""

    def __init__(self, replies: list[str]) -> None:
        self.replies, self.said = replies, 0
        self.config, self.device = SimpleNamespace(), "cpu"

    def generate(self, *words: object, **options: object) -> str:
        self.said += 1
        return self.replies[self.said - 1]

    def batch_decode(self, reply: str, **options: object) -> list[str]:
        return [reply]


def official(script: object, replies: list[str], entry: dict[str, object], folder: Path) -> dict[str, str]:
    """The row that the script writes, or the exception that ends it."""
    speaker = Speaker(replies)
    script.load_pretrained_model = lambda *words: (speaker, speaker, None, 0)
    script.process_images = lambda *words: torch.zeros(1)
    script.tokenizer_image_token = lambda *words, **options: torch.zeros(1)
    (folder / "prompts.json").write_text(json.dumps([entry]))
    words = Namespace(
        model_path="llava", model_base=None, temperature=0.2, top_p=None, num_beams=1, max_new_tokens=512,
        output_path=str(folder / "out"), read_prompt_file=str(folder / "prompts.json"),
        video_path=str(folder / "video"), t2v_model="model",
    )  # fmt: skip
    try:
        table = script.eval_model(words)
    except Exception as error:
        return {"error": type(error).__name__}
    with open(table, newline="") as file:
        (row,) = csv.DictReader(file)
    return {"row": row}


def reply(low: int, high: int) -> str:
    return json.dumps({"score": DRAW.randint(low, high), "explanation": "x"})


def main(out: str) -> None:
    recorded = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "video").mkdir()
        video = cv2.VideoWriter(str(folder / "video" / "0001.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 8, (32, 32))
        for index in range(16):
            video.write(np.full((32, 32, 3), index * 9, np.uint8))
        video.release()
        action = {"prompt": "p", "phrase_0": ["a?", "a runs?"], "phrase_1": ["b?", "b sits?"]}
        for said in [*(reply(0, 5) for _ in range(6)), *ODD]:
            row = official(eval_action_binding, ["grid", said], action, folder)
            recorded.append({"category": "action_binding", **row})
        dynamic = {"prompt": "p", "state 0": "green", "state 1": "red"}
        for case in range(24):
            middle = [reply(1, 2) if DRAW.random() < 0.85 else reply(0, 0) for _ in range(14)]
            ends = ["first", reply(1, 5), reply(1, 5), "last", reply(1, 5), reply(1, 5)]
            if case >= 12:
                ends[DRAW.choice([1, 2, 4, 5])] = ODD[case - 12]
            script = [*ends, *(word for said in middle for word in ("frame", said))]
            recorded.append({"category": "dynamic_attribute", **official(eval_dynamic_attr, script, dynamic, folder)})
    lines = ",\n".join(json.dumps(row) for row in recorded)
    Path(out).write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main(sys.argv[1])
