"""A LLaVA checkpoint of random weights in the official layout, small enough for a CPU.

Runs in the worker's environment: `python small.py WEIGHTS SEED`, LLaVA's repository on PYTHONPATH. Its words are whole
replies, so that a random one has something to read.
"""

import os
import sys
from pathlib import Path

import sentencepiece
import torch
from llava.model.language_model.llava_llama import LlavaConfig, LlavaLlamaForCausalLM
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel, LlamaTokenizer

TOWER = "openai/clip-vit-large-patch14-336"
SAID = {0: "no", 1: "no", 2: "yes", 3: "so so", 4: "yes", 5: "yes"}
REPLIES = [*(f'{{"score": {score}, "explanation": "{why}"}}' for score, why in SAID.items()), "I cannot tell."]

weights, seed = Path(sys.argv[1]), int(sys.argv[2])
weights.mkdir(parents=True)
os.chdir(weights)  # where the vision tower is looked for
torch.manual_seed(seed)
small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
CLIPVisionModel(CLIPVisionConfig(**small, image_size=28, patch_size=14)).save_pretrained(TOWER)
CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(TOWER)

Path("text.txt").write_text("\n".join("the quick brown fox jumps over the lazy dog 0123456789" for _ in range(50)))
sentencepiece.SentencePieceTrainer.train(
    input="text.txt", model_prefix="tokenizer", vocab_size=60, hard_vocab_limit=False, model_type="char",
    unk_id=0, bos_id=1, eos_id=2, pad_id=-1,
)  # fmt: skip
tokenizer = LlamaTokenizer("tokenizer.model", legacy=True)
tokenizer.add_tokens(REPLIES)
config = LlavaConfig(
    **small, vocab_size=len(tokenizer), max_position_embeddings=4096, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    mm_vision_tower=TOWER, mm_hidden_size=32, mm_projector_type="mlp2x_gelu", mm_vision_select_layer=-2,
    mm_vision_select_feature="patch", mm_patch_merge_type="spatial_unpad", image_aspect_ratio="anyres",
    image_grid_pinpoints=[[28, 56], [56, 28], [56, 56]], unfreeze_mm_vision_tower=True, mm_use_im_start_end=False,
    mm_use_im_patch_token=False, tokenizer_model_max_length=4096, use_mm_proj=True,
)  # fmt: skip
model = LlavaLlamaForCausalLM(config)
with torch.no_grad():
    model.model.image_newline.normal_()  # made without values
    model.lm_head.weight.mul_(3)
    model.lm_head.weight[3 : -len(REPLIES)] *= 0.2  # letters are unlikely
    model.lm_head.weight[2] *= 2
model.half().save_pretrained("llava-v1.6-34b")
tokenizer.save_pretrained("llava-v1.6-34b")
