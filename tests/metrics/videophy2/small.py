"""A VideoPhy-2 checkpoint of random weights in the official format, small enough for a CPU.

Runs in the worker's environment: `python small.py OUT SEED`, the repository's VIDEOPHY2 on PYTHONPATH. Its vocabulary
is digits and letters, so that a random reply has something to read.
"""

import sys
from pathlib import Path

import sentencepiece
import torch
from mplug_owl_video.configuration_mplug_owl import MplugOwlConfig
from mplug_owl_video.modeling_mplug_owl import MplugOwlForConditionalGeneration
from mplug_owl_video.processing_mplug_owl import MplugOwlImageProcessor
from transformers.models.llama.tokenization_llama import LlamaTokenizer

out, seed = Path(sys.argv[1]), int(sys.argv[2])
out.mkdir(parents=True)
lines = [f"{number} five four three two one zero the video matches: 1 2 3 4 5 0" for number in range(200)]
(out / "text.txt").write_text("\n".join(lines))
sentencepiece.SentencePieceTrainer.train(
    input=str(out / "text.txt"), model_prefix=str(out / "tokenizer"), vocab_size=60, hard_vocab_limit=False,
    model_type="char", unk_id=0, bos_id=1, eos_id=2, pad_id=-1, byte_fallback=False,
)  # fmt: skip
tokenizer = LlamaTokenizer(str(out / "tokenizer.model"))
vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
abstractor = {**vision, "encoder_hidden_size": 32}
text = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4,
    "vocab_size": len(tokenizer), "max_position_embeddings": 2048,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
}  # fmt: skip
torch.manual_seed(seed)
config = MplugOwlConfig(vision_config=vision, visual_abstractor_config=abstractor, text_config=text)
model = MplugOwlForConditionalGeneration(config)
with torch.no_grad():
    model.language_model.lm_head.weight.mul_(20)
    model.language_model.lm_head.weight[2] *= 2  # replies end
model.to(torch.bfloat16).save_pretrained(out, safe_serialization=False)
tokenizer.save_pretrained(out)
MplugOwlImageProcessor(size={"shortest_edge": 224}, crop_size=224).save_pretrained(out)
