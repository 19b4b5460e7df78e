"""VMBench's Q-Align and VideoMAE in small, with random weights in the official layout.

Runs in the worker's environment. As a program, `python small.py WEIGHTS REPOSITORY` writes the files. As a worker's
script it is official_env/worker.py itself, but for the size of the video network (`vit_giant_patch14_224` has a billion
parameters).
"""

import functools
import importlib
import importlib.util
import sys
from pathlib import Path

import torch

WORKER = Path(__file__).parents[3] / "metrics" / "vmbench" / "official_env" / "worker.py"
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
VIEW = 56  # pixels


def video_network(_: str = "", **options: object) -> torch.nn.Module:
    """The repository's own class at a small size, asked for as timm is."""
    module = importlib.import_module("models.modeling_finetune")
    given = {name: value for name, value in options.items() if value is not None and name != "pretrained"}
    norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
    sizes = {"patch_size": 14, "embed_dim": 32, "depth": 1, "num_heads": 2, "mlp_ratio": 2, "qkv_bias": True}
    return module.VisionTransformer(**sizes, norm_layer=norm, **given)


def write_quality(folder: Path) -> None:
    import sentencepiece
    from q_align.model.configuration_mplug_owl2 import (
        MPLUGOwl2Config,
        MplugOwlVisionConfig,
        MplugOwlVisualAbstractorConfig,
    )
    from q_align.model.modeling_mplug_owl2 import MPLUGOwl2LlamaForCausalLM
    from transformers import LlamaTokenizer
    from transformers.models.clip.image_processing_clip import CLIPImageProcessor

    folder.mkdir(parents=True)
    text = "How would you rate the quality of this video USER ASSISTANT The is excellent good fair poor bad"
    (folder / "text.txt").write_text("\n".join([text] * 50))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"), model_prefix=str(folder / "tokenizer"), vocab_size=150, hard_vocab_limit=False,
        model_type="bpe", unk_id=0, bos_id=1, eos_id=2, pad_id=-1,
    )  # fmt: skip
    tokenizer = LlamaTokenizer(str(folder / "tokenizer.model"), legacy=True)
    visual = {
        "visual_model": MplugOwlVisionConfig(**SMALL, image_size=VIEW, patch_size=14).to_dict(),
        "visual_abstractor": MplugOwlVisualAbstractorConfig(
            **SMALL, encoder_hidden_size=32, grid_size=VIEW // 14
        ).to_dict(),
    }
    tokenizer.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": VIEW}, crop_size={"height": VIEW, "width": VIEW}).save_pretrained(folder)
    config = MPLUGOwl2Config(
        visual, name_or_path=str(folder), **SMALL, vocab_size=len(tokenizer), max_position_embeddings=1024
    )
    model = MPLUGOwl2LlamaForCausalLM(config)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn_like(value) * (0.3 if value.ndim > 1 else 0.1) + (value.ndim == 1))
    model.half().save_pretrained(folder)


def main(weights: Path, repository: Path) -> None:
    torch.manual_seed(0)
    sys.path[:0] = [str(repository / name) for name in ("Q-Align", "VideoMAEv2")]
    write_quality(weights / "q-future" / "one-align")
    network = video_network(img_size=224, num_classes=5, all_frames=16, tubelet_size=2, use_mean_pooling=True)
    torch.nn.init.normal_(network.head.weight)
    torch.save({"module": network.state_dict()}, weights / "vit_g_vmbench.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute())
elif __name__ == "tool":  # the name under which a worker's script is loaded
    spec = importlib.util.spec_from_file_location("worker", WORKER)
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    importlib.import_module("timm.models").create_model = video_network
    start, PACKAGES = worker.start, worker.PACKAGES
