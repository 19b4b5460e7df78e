"""LLaVA-Video and Qwen2.5 of the real classes, file names and formats, small and with weights that are made to answer.

One layer of even attention adds up all tokens, and the sum decides what is said before the text ends. LLaVA says "Yes"
to a bright clip and "No" to a dark one, Qwen says "No"; but what a text has of `LLAVA` or `QWEN` gets its answer there.
Vocabularies are the bytes, the special tokens, and each of these texts and answers as one word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import PretrainedConfig, PreTrainedModel, Qwen2Config, Qwen2Tokenizer, Qwen2TokenizerFast
from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

WIDTH = 32  # of every network
VOTE, TOPICS, END, FILL = 0, 1, 30, 31  # places in a vector: topics take one each
SHOUT = 1000.0  # of a topic over a vote
SURE = 100.0  # of logits: upstream samples one of Qwen's answers
SHARDS = 4
SIGLIP = "google/siglip-so400m-patch14-384"
PLOT = "1. A man runs. 2. A man falls. 3. A man stands up."
TWO = "1. A person sits on a couch. 2. The person sweeps the floor."
LLAVA = {
    "action order": TWO, "Return the plot": PLOT, "landscape": "A forest in the mist.",
    "in details": "Two people stand.", "human interaction": "a person hands a cup to another person",
    "only one creature": "Yes", "A lion": "Yes",
    "space station": "Yes", "liquid state": "Yes", "only one person": "Yes", "slurping": "Yes",
}  # fmt: skip
QWEN = {
    "plot summarizer": "1. A forest. 2. A river.", "sits on a couch": "Yes, both sit.", "person number": "Yes, two.",
    "hands a cup to": "Yes, both hand a cup.", "A forest.": "Yes, a forest.", "A man runs.": "Yes, he runs.",
}  # fmt: skip
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SIZE = {
    "hidden_size": WIDTH, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
    "num_key_value_heads": 1, "max_position_embeddings": 32768, "rope_theta": 1e6, "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
}  # fmt: skip
VIDEO = {  # LLaVA-Video-7B-Qwen2's config.json, but for sizes
    "image_aspect_ratio": "anyres_max_9", "mm_hidden_size": WIDTH, "mm_newline_position": "grid",
    "mm_patch_merge_type": "spatial_unpad", "mm_projector_type": "mlp2x_gelu", "mm_resampler_type": None,
    "mm_spatial_pool_mode": "bilinear", "mm_tunable_parts": "mm_vision_tower,mm_mlp_adapter,mm_language_model",
    "mm_use_im_patch_token": False, "mm_use_im_start_end": False, "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -2, "mm_vision_tower": SIGLIP, "tokenizer_model_max_length": 32768,
    "use_mm_proj": True, "add_faster_video": False,
}  # fmt: skip
GENERATION = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05}


def write_llava(folder: Path, siglip: Path) -> None:
    """Its folder, and SigLIP's, which its configuration names; run where `SIGLIP` is found."""
    from llava.model.language_model.llava_qwen import LlavaQwenConfig, LlavaQwenForCausalLM

    write_siglip(siglip)
    words = write_tokenizer(folder, LLAVA)
    config = LlavaQwenConfig(**SIZE, **VIDEO, vocab_size=len(words), **ends(words))
    network = LlavaQwenForCausalLM(config)
    teach(network, words, LLAVA, vote=0.0)
    with torch.no_grad():
        network.model.image_newline.zero_()
        first, second = network.model.mm_projector[0], network.model.mm_projector[2]
        for layer in (first, second):
            layer.weight.zero_()
            layer.bias.zero_()
        first.weight[:2, 0] = torch.tensor([4.0, -4.0])  # gelu(x) - gelu(-x) = x
        second.weight[VOTE, :2] = torch.tensor([1.0, -1.0]) * 4e-3
        second.bias[FILL] = 3.0
    write_model(network, folder)


def write_qwen(folder: Path) -> None:
    from transformers import Qwen2ForCausalLM

    words = write_tokenizer(folder, QWEN)
    Qwen2TokenizerFast.from_pretrained(folder).save_pretrained(folder)  # tokenizer.json: published for Qwen alone
    network = Qwen2ForCausalLM(Qwen2Config(**SIZE, vocab_size=len(words), **ends(words)))
    teach(network, words, QWEN, vote=-1.0)
    write_model(network, folder)


def write_siglip(folder: Path) -> None:
    """At the published view, 384 pixels in patches of 14; the first channel is brightness, untouched by its layers."""
    from llava.model.multimodal_encoder.siglip_encoder import SigLipVisionConfig, SigLipVisionModel

    sizes = {"hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    network = SigLipVisionModel(SigLipVisionConfig(**sizes, image_size=384, patch_size=14))
    with torch.no_grad():
        parts = network.vision_model.embeddings
        parts.patch_embedding.weight[0] = 1 / (3 * 14 * 14)
        parts.patch_embedding.bias.zero_()
        parts.position_embedding.weight[:, 0] = 0
        for layer in network.vision_model.encoder.layers:
            for last in (layer.self_attn.out_proj, layer.mlp.fc2):
                last.weight[0] = 0
                last.bias.zero_()
    folder.mkdir(parents=True)
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 384, "width": 384}}))


def write_tokenizer(folder: Path, topics: Mapping[str, str]) -> dict[str, int]:
    """Byte by byte, in the files of Qwen2's; the ids of all words."""
    folder.mkdir(parents=True)
    letters = {letter: number for number, letter in enumerate(bytes_to_unicode().values())}
    (folder / "vocab.json").write_text(json.dumps(letters))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = Qwen2Tokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), chat_template=CHATML)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.add_tokens(sorted({"Yes", "No", *topics, *topics.values()}))
    tokenizer.save_pretrained(folder)
    return dict(tokenizer.get_vocab())


def teach(network: PreTrainedModel, words: Mapping[str, int], topics: Mapping[str, str], vote: float) -> None:
    """Weights that do what this module says; `vote` is that of every word."""
    with torch.no_grad():
        for name, values in network.model.named_parameters():
            if "layers." in name and "layernorm" not in name and "vision" not in name:
                values.zero_()
        token, head = network.model.embed_tokens.weight, network.lm_head.weight
        token.zero_()
        head.zero_()
        token[:, VOTE], token[:, FILL] = vote, 3.0
        head[words["Yes"], VOTE], head[words["No"], VOTE] = 1.0, -1.0
        for place, (topic, answer) in enumerate(topics.items(), TOPICS):
            token[words[topic], place] = 3.0
            head[words[answer], place] = 1.0
        for answer in {"Yes", "No", *topics.values()}:
            token[words[answer], END] = 1e6
        head[words["<|im_end|>"], END] = 1.0
        head.mul_(SURE)
        attention = network.model.layers[0].self_attn
        attention.v_proj.weight.copy_(torch.eye(WIDTH) * SHOUT)
        attention.v_proj.weight[VOTE, VOTE] = 1.0
        attention.v_proj.weight[FILL, FILL] = attention.v_proj.weight[END, END] = 0.0
        attention.o_proj.weight.copy_(torch.eye(WIDTH) * 1e3)


def ends(words: Mapping[str, int]) -> dict[str, int]:
    return {"bos_token_id": words["<|endoftext|>"], "eos_token_id": words["<|im_end|>"]}


def write_model(network: PreTrainedModel, folder: Path) -> None:
    """Configuration and weights in as many files as are published."""
    network.to(torch.bfloat16)
    state = {name: values.contiguous() for name, values in network.state_dict().items()}
    names, index = sorted(state), dict[str, str]()
    for number in range(SHARDS):
        file = f"model-{number + 1:05d}-of-{SHARDS:05d}.safetensors"
        mine = names[number::SHARDS]
        save_file({name: state[name] for name in mine}, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(mine, file)
    size = sum(values.nbytes for values in state.values())
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": size}, "weight_map": index})
    )
    config: PretrainedConfig = network.config
    config.architectures = [type(network).__name__]
    config.save_pretrained(folder)
    ends_with = {"eos_token_id": config.eos_token_id, "pad_token_id": config.bos_token_id}
    (folder / "generation_config.json").write_text(json.dumps({**GENERATION, **ends_with}))
