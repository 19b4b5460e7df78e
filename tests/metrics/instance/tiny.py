"""A seeded Qwen2.5-VL with LoRA of the real classes, file names and formats, that always answers "B. No".

Runs in the official environment, with the sources on PYTHONPATH:

    PYTHON tiny.py FOLDER        writes what metrics/instance/weights.yaml lists for the judge

Byte-level tokens, so that no vocabulary is needed; the rest of it is never used. Layers add next to nothing, and the
output layer maps each token to the one that follows it in the answer.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path

SPECIAL = ("endoftext", "im_start", "im_end", "object_ref_start", "object_ref_end", "box_start", "box_end",
           "quad_start", "quad_end", "vision_start", "vision_end", "vision_pad", "image_pad", "video_pad")  # fmt: skip
ANSWER = ("Ċ", "B", ".", "Ġ", "N", "o", "<|im_end|>")  # the first is the line break after "assistant"
VOCABULARY = 151_643  # ms-swift knows the special tokens by their numbers
BASE = "Qwen2.5-VL-7B-Instruct"
ADAPTER = "instance_anomaly_detector/model"


def main(folder: Path) -> None:
    """Base, processor and adapter."""
    import torch
    from swift.llm import get_model_tokenizer
    from swift.tuners import LoraConfig, Swift
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    base, adapter = folder / BASE, folder / ADAPTER
    ids = processor(base)
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(
        vocab_size=len(ids), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, bos_token_id=ids["<|endoftext|>"], eos_token_id=ids["<|im_end|>"],
        rope_scaling={"type": "mrope", "mrope_section": [2, 3, 3]}, tie_word_embeddings=False,
        vision_config={"depth": 2, "hidden_size": 32, "out_hidden_size": 64, "num_heads": 2, "intermediate_size": 48,
                       "fullatt_block_indexes": [1]},
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
        torch_dtype="bfloat16",
    )  # fmt: skip
    network = Qwen2_5_VLForConditionalGeneration(config).to(torch.bfloat16)
    with torch.no_grad():
        for name, values in network.model.named_parameters():
            if "layers" in name and ("o_proj" in name or "down_proj" in name):
                values.mul_(1e-2)
        network.model.embed_tokens.weight.normal_()
        network.lm_head.weight.zero_()
        for token, follower in pairwise(ANSWER):
            network.lm_head.weight[ids[follower]] = network.model.embed_tokens.weight[ids[token]]
    network.generation_config.eos_token_id = ids["<|im_end|>"]
    network.generation_config.pad_token_id = ids["<|endoftext|>"]
    network.save_pretrained(base, max_shard_size="120KB")
    loaded, _ = get_model_tokenizer(str(base))
    tuned = Swift.prepare_model(loaded, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]))
    tuned.save_pretrained(str(adapter))
    described = {"model": f"Qwen/{BASE}", "model_type": "qwen2_5_vl", "template": "qwen2_5_vl"}
    (adapter / "args.json").write_text(json.dumps(described))


def processor(base: Path) -> dict[str, int]:
    """Writes tokenizer and image processor; the ids of all tokens."""
    from transformers import Qwen2_5_VLProcessor, Qwen2TokenizerFast, Qwen2VLImageProcessor
    from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

    base.mkdir(parents=True)
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"unused{number}" for number in range(VOCABULARY - len(letters)))]
    vocabulary = {word: number for number, word in enumerate(words)}
    (base / "vocab.json").write_text(json.dumps(vocabulary))
    (base / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = Qwen2TokenizerFast(str(base / "vocab.json"), str(base / "merges.txt"))
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<|{name}|>" for name in SPECIAL]})
    template = "{% for message in messages %}{{ message['role'] }}{% endfor %}"  # swift brings its own
    Qwen2_5_VLProcessor(Qwen2VLImageProcessor(), tokenizer, chat_template=template).save_pretrained(base)
    return dict(tokenizer.get_vocab())


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
