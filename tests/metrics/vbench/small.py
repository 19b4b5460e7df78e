"""What the official package's classes make of seeded ViCLIP and UMT networks: small ones, `official_small.json`, and
ones of the published size, `official_full.json`.

    python -m tests.metrics.vbench.small --python <python of an environment with vbench==0.1.5> [--full]

records one of them anew; `--full` takes some minutes, 3 GB of disk and 5 GB of memory.
Runs in Mutoscope's environment, from the repository's root.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from metrics.vbench.seeded import umt, viclip
from tests.metrics.vbench.clips import LONG, write

HERE = Path(__file__).resolve().parent
OUTPUTS = {False: HERE / "official_small.json", True: HERE / "official_full.json"}
SEED = 5
VICLIP, UMT = "ViCLIP/ViClip-InternVid-10M-FLT.pth", "umt_model/l16_ptk710_ftk710_ftk400_f16_res224.pth"
CLIPS = ("slow", "fast", "odd", "wide", "pair")
FULL_CLIPS, FULL_PROMPTS = ("fast", "pair"), ("a red disc", LONG)
LENGTHS = (*range(1, 34), 49, 81, 129, 240, 1000)
PROMPTS = (
    "a red disc", "A Red DISC", "  a   cat \n\t sits ", "a person's dog", "don't they're we've I'm she'll he'd",
    "it’s “quoted” — dash…", "\"double\" 'single' `back`", "café naïve", "cafe\u0301", "猫が座る", "😀 smile 👨‍👩‍👧",
    "12345 3.14 50%", "a_b-c/d\\e", "&lt;b&gt;bold&lt;/b&gt; &amp;amp; &quot;x&quot;", "&amp;lt;script&amp;gt;",
    "<|startoftext|> hello <|endoftext|>", "<start_of_text> hello <end_of_text>", "schÃ¶n", "l’amour", "ﬁne ﬂow",
    "ＦＵＬＬ width", "zero\u200bwidth", "nbsp\u00a0here", "tab\tvertical\x0bform\x0c", "\x1cfs\x1dgs\x1ers\x1fus",
    "\x85nel \u2028 ls \u2029ps", "\u3000ideographic", "!!!???...,,,;;;", "a,b.c;d:e", "ÀÉÎ İstanbul ß", "ǅungla",
    "𝔤𝔬𝔱𝔥𝔦𝔠", "\x7fdel", "١٢٣ ½ ² Ⅷ", "antidisestablishmentarianism", "word " * 29, "word " * 30, "word " * 31,
    "word " * 200, "a" * 500, "😀" * 40, "عربي نص", "हिन्दी पाठ", "mix日本English", "", LONG,
)  # fmt: skip


@cache
def official(full: bool = False) -> dict[str, Any]:
    """The recorded outputs."""
    outputs: dict[str, Any] = json.loads(OUTPUTS[full].read_text(encoding="utf-8"))
    return outputs


def write_weights(folder: Path, full: bool = False) -> Path:
    """The seeded checkpoints in VBench's layout."""
    (viclip.write if full else viclip.write_small)(folder / VICLIP, SEED)
    (umt.write if full else umt.write_small)(folder / UMT, SEED)
    return folder


def main() -> None:
    import open_clip

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="python of the official environment")
    parser.add_argument("--full", action="store_true", help="networks of the published size")
    options = parser.parse_args()
    clip_names, prompts = (FULL_CLIPS, FULL_PROMPTS) if options.full else (CLIPS, PROMPTS)
    with tempfile.TemporaryDirectory() as scratch:
        weights, clips = write_weights(Path(scratch) / "weights", options.full), Path(scratch) / "clips"
        clips.mkdir()
        vocabulary = Path(open_clip.__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
        (weights / "ViCLIP" / vocabulary.name).symlink_to(vocabulary)
        task = {
            "full": options.full,
            "viclip": str(weights / VICLIP),
            "umt": str(weights / UMT),
            "clips": {name: str(path) for name, path in write(clips, *clip_names).items()},
            "prompts": prompts,
            "lengths": () if options.full else LENGTHS,
        }
        environment = {"VBENCH_CACHE_DIR": str(weights), "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
        done = subprocess.run(
            [options.python, str(HERE / "official_small.py")],
            input=json.dumps(task),
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    outputs = json.loads(done.stdout.splitlines()[-1], parse_float=lambda digits: round(float(digits), 7))
    rows = (f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in outputs.items())
    OUTPUTS[options.full].write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
