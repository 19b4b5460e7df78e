"""A seeded VideoReward of the real classes, file names and formats, but a few hundred thousand parameters.

Runs in the official environment, standard library and that alone:

    PYTHON tiny.py make FOLDER                    writes what metrics/videoalign/weights.yaml lists
    PYTHON tiny.py reward FOLDER CLIP PROMPT      the official class's own answers, raw and normalised, as JSON

with the official repository on PYTHONPATH. Byte-level tokens, so that no vocabulary is needed.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for content in message['content'] %}"
    "{% if content['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ content['text'] }}"
    "{% endif %}{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("endoftext", "im_start", "im_end", "vision_start", "vision_end", "vision_pad", "image_pad", "video_pad")
CALIBRATION = {
    "VQ_mean": 3.6757, "VQ_std": 2.2476, "MQ_mean": 1.1646, "MQ_std": 1.3811, "TA_mean": 2.8105, "TA_std": 2.5121,
}  # fmt: skip
STEP = 11352


def make(folder: Path) -> None:
    """Base model, processor, and a checkpoint with LoRA layers as the official training saves them."""
    import torch
    from data import DataConfig
    from train_reward import create_model_and_processor
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration
    from utils import ModelConfig, PEFTLoraConfig, TrainingConfig

    base, reward = folder / "Qwen2-VL-2B-Instruct", folder / "VideoReward"
    ids = processor(base)
    torch.manual_seed(0)
    config = Qwen2VLConfig(
        vocab_size=len(ids), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, bos_token_id=ids["<|endoftext|>"], eos_token_id=ids["<|im_end|>"],
        rope_scaling={"type": "mrope", "mrope_section": [2, 3, 3]},
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2},
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    tiny = Qwen2VLForConditionalGeneration(config).to(torch.bfloat16)
    tiny.save_pretrained(base, max_shard_size="200KB")  # two shards, as the real one has
    model = ModelConfig("Qwen/Qwen2-VL-2B-Instruct", output_dim=1, use_special_tokens=True, torch_dtype="bfloat16",
                        reward_token="special", loss_type="btt")  # fmt: skip
    lora = PEFTLoraConfig(True, lora_r=4, lora_alpha=8, lora_namespan_exclude=["lm_head", "rm_head", "embed_tokens"])
    data = DataConfig(max_frame_pixels=200704, eval_dim=["VQ", "MQ", "TA"], prompt_template_type="detailed_special")
    training = TrainingConfig(output_dir=str(reward), bf16=True, disable_flash_attn2=True)
    os.chdir(folder)
    Path("Qwen").mkdir()
    Path("Qwen/Qwen2-VL-2B-Instruct").symlink_to(base)
    network, _, _ = create_model_and_processor(model, lora, training)
    with torch.no_grad():
        for name, values in network.named_parameters():
            if "lora_B" in name or "rm_head" in name:  # the former are created as zeros
                values.copy_(torch.randn(values.shape) * 0.2)
    (reward / f"checkpoint-{STEP}").mkdir(parents=True)
    torch.save(network.state_dict(), reward / f"checkpoint-{STEP}" / "model.pth")
    content = {"data_config": asdict(data), "training_args": {}, "model_config": asdict(model)}
    content |= {"peft_lora_config": asdict(lora), "inference_config": CALIBRATION}
    (reward / "model_config.json").write_text(json.dumps(content, indent=4))
    Path("Qwen/Qwen2-VL-2B-Instruct").unlink()
    Path("Qwen").rmdir()


def processor(base: Path) -> dict[str, int]:
    """Writes tokenizer and image processor; the ids of all tokens."""
    from transformers import Qwen2TokenizerFast, Qwen2VLImageProcessor, Qwen2VLProcessor
    from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

    base.mkdir(parents=True)
    vocabulary = {letter: number for number, letter in enumerate(bytes_to_unicode().values())}
    (base / "vocab.json").write_text(json.dumps(vocabulary))
    (base / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = Qwen2TokenizerFast(str(base / "vocab.json"), str(base / "merges.txt"))
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<|{name}|>" for name in SPECIAL]})
    Qwen2VLProcessor(Qwen2VLImageProcessor(), tokenizer, chat_template=TEMPLATE).save_pretrained(base)
    return dict(tokenizer.get_vocab())


def reward(folder: Path, clip: str, prompt: str) -> None:
    """What the official class says, switched to PyTorch's attention as the worker does."""
    import inference
    import torch

    os.chdir(folder)
    Path("Qwen").mkdir(exist_ok=True)
    link = Path("Qwen/Qwen2-VL-2B-Instruct")
    link.unlink(missing_ok=True)
    link.symlink_to(folder / link.name)
    configured = inference.TrainingConfig
    inference.TrainingConfig = lambda **words: configured(**{**words, "disable_flash_attn2": True})
    judge = inference.VideoVLMRewardInference(str(folder / "VideoReward"), device="cpu", dtype=torch.bfloat16)
    with torch.no_grad():
        said = {
            form: judge.reward([clip], [prompt], use_norm=form == "normalised")[0] for form in ("raw", "normalised")
        }
    print(json.dumps(said))


if __name__ == "__main__":
    where = Path(sys.argv[2]).resolve()
    if sys.argv[1] == "make":
        make(where)
    else:
        reward(where, *sys.argv[3:])
