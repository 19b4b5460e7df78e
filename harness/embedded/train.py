"""`mutoscope embedded train`: makes the backbone that ships in `harness/embedded/wan_shapes`.

Every number a step needs is a function of (seed, step), and a snapshot holds networks, optimisers and averages, so a
run that was killed continues to the same bytes on the same machine with the same number of threads.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
from torch import Tensor, nn
from transformers import UMT5Config, UMT5EncoderModel

from harness.backbones.base import RectifiedFlow, shift
from harness.data.world import VOCABULARY
from harness.embedded.codec import PatchCodec, fit_codec
from harness.embedded.corpus import Corpus, frames, prepare
from harness.backbones.wan_attention import PlainAttention
from harness.embedded.words import build_tokenizer
from harness.errors import UserError
from harness.rng import derive_seed, generator

HEAD = 48  # width of an attention head


@dataclass(frozen=True)
class Recipe:
    """What decides the weights, apart from the number of steps."""

    steps: int = 9000
    batch: int = 32
    seed: int = 0
    clips: int = 36000
    layers: int = 4
    width: int = 192
    ffn: int = 768
    z_dim: int = 24
    static_dim: int = 12
    whiten: float = 0.5
    text_width: int = 64
    text_layers: int = 2
    text_length: int = 48
    rate: float = 1e-3
    muon_rate: float = 0.01
    warmup: int = 200
    decay: float = 0.4  # share of the steps over which the rate falls to zero
    ema: float = 0.999
    dropout: float = 0.1  # captions replaced by the empty prompt
    long_share: float = 0.3
    time_shift: float = 1.5


class Trainer:
    """Networks, their averages and optimisers, in the state after `step` steps."""

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(derive_seed(recipe.seed, "embedded", "init"))
        self.recipe, self.step = recipe, 0
        self.tokenizer = build_tokenizer(VOCABULARY, recipe.text_length)
        self.text = UMT5EncoderModel(text_config(recipe, len(self.tokenizer)))
        self.net = transformer(recipe)
        self.both = nn.ModuleDict({"net": self.net, "text": self.text})
        self.average = {name: p.detach().clone() for name, p in self.both.named_parameters()}
        self.optimizers = optimizers(self.both, recipe)
        self.net.set_attn_processor(PlainAttention())

    def loss(self, corpus: Corpus) -> Tensor:
        """Flow matching, `mean |net(x_t, 1000 t, c) - (eps - x0)|^2`, on the batch of the current step."""
        recipe, schedule = self.recipe, RectifiedFlow()
        rng = np.random.default_rng(derive_seed(recipe.seed, "embedded", "batch", self.step))
        rows = rng.integers(0, len(corpus.short), recipe.batch)
        kind = rng.random(recipe.batch)
        captions = [
            corpus.long[i] if k < recipe.long_share else corpus.short[i] for i, k in zip(rows, kind, strict=True)
        ]
        captions = ["" if d < recipe.dropout else c for c, d in zip(captions, rng.random(recipe.batch), strict=True)]
        noise = generator(recipe.seed, "embedded", "noise", self.step)
        x0 = torch.from_numpy(np.stack([corpus.latents[i] for i in rows])).float()
        eps = torch.randn(x0.shape, generator=noise)
        t = shift(torch.randn(recipe.batch, generator=noise).sigmoid(), recipe.time_shift)
        x = schedule.add_noise(x0, eps, t.reshape(-1, 1, 1, 1, 1))
        cond = embed(self.tokenizer, self.text, captions)
        with torch.autocast("cpu", torch.bfloat16):
            flow = self.net(hidden_states=x, timestep=1000 * t, encoder_hidden_states=cond, return_dict=False)[0]
        return (flow.float() - (eps - x0)).square().mean()

    def update(self, corpus: Corpus) -> float:
        loss = self.loss(corpus)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.both.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate_factor(self.step, self.recipe)
            optimizer.step()
            optimizer.zero_grad()
        keep = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            names, parameters = zip(*self.both.named_parameters(), strict=True)
            torch._foreach_lerp_([self.average[n] for n in names], list(parameters), 1 - keep)
        self.step += 1
        return loss.item()

    def save(self, path: Path) -> None:
        state = {
            "step": self.step,
            "recipe": asdict(self.recipe),
            "networks": self.both.state_dict(),
            "average": self.average,
            "optimizers": [o.state_dict() for o in self.optimizers],
        }
        torch.save(state, path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)

    def restore(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        if {**state["recipe"], "steps": 0} != {**asdict(self.recipe), "steps": 0}:
            raise UserError(f"{path} was written by another recipe", "choose another --out or repeat its options")
        self.both.load_state_dict(state["networks"])
        self.average, self.step = state["average"], state["step"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    def export(self, folder: Path, codec: PatchCodec) -> None:
        """Write the averaged weights as an ordinary WanPipeline folder."""
        net, text = transformer(self.recipe), UMT5EncoderModel(self.text.config)
        nn.ModuleDict({"net": net, "text": text}).load_state_dict(self.average, strict=False)
        scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
        WanPipeline(self.tokenizer, text.eval(), codec, scheduler, net.eval()).save_pretrained(folder)


def text_config(recipe: Recipe, words: int) -> UMT5Config:
    width = recipe.text_width
    return UMT5Config(
        vocab_size=words, d_model=width, d_kv=width // 4, d_ff=2 * width, num_layers=recipe.text_layers, num_heads=4,
        dropout_rate=0.0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip


def transformer(recipe: Recipe) -> WanTransformer3DModel:
    """Zero output at the start: the first loss is the variance of the target."""
    net = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=recipe.width // HEAD, attention_head_dim=HEAD, in_channels=recipe.z_dim,
        out_channels=recipe.z_dim, text_dim=recipe.text_width, freq_dim=128, ffn_dim=recipe.ffn,
        num_layers=recipe.layers, rope_max_seq_len=64,
    )  # fmt: skip
    nn.init.zeros_(net.proj_out.weight)
    nn.init.zeros_(net.proj_out.bias)
    return net


def embed(tokenizer: Any, text: UMT5EncoderModel, captions: list[str]) -> Tensor:
    """`[B, L, D]`, zero after the end of each caption, as WanPipeline does."""
    words = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
    mask = words.attention_mask
    return text(words.input_ids, mask).last_hidden_state * mask[..., None]


def optimizers(both: nn.ModuleDict, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for everything else."""
    matrices = {n: p for n, p in both.named_parameters() if n.startswith("net.blocks.") and p.ndim == 2}
    others = [p for n, p in both.named_parameters() if n not in matrices]
    found: list[torch.optim.Optimizer] = []
    if recipe.muon_rate:
        found.append(torch.optim.Muon(matrices.values(), lr=recipe.muon_rate, weight_decay=0.01))
    else:
        others += matrices.values()
    found.append(torch.optim.AdamW(others, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01))
    for optimizer in found:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return found


def rate_factor(step: int, recipe: Recipe) -> float:
    """Linear warm-up, plateau, then a linear fall over the last `decay` of the steps."""
    fall = recipe.decay * recipe.steps
    return min((step + 1) / recipe.warmup, 1.0, (recipe.steps - step) / fall)


def main(recipe: Recipe, out: Path, work: Path, snapshot_minutes: float = 4.0) -> None:
    """Train, or go on training, and export to `out`; `work` keeps latents and snapshots (1 GB)."""
    work.mkdir(parents=True, exist_ok=True)
    codec = load_codec(work / "codec", recipe)
    corpus = prepare(work, codec, recipe.seed, recipe.clips, os.cpu_count() or 1)
    trainer, snapshot = Trainer(recipe), work / "snapshot.pt"
    if snapshot.exists():
        trainer.restore(snapshot)
    begin, first, saved, losses = time.monotonic(), trainer.step, time.monotonic(), []
    while trainer.step < recipe.steps:
        losses.append(trainer.update(corpus))
        now = time.monotonic()
        if trainer.step % 100 == 0:
            pace = (now - begin) / (trainer.step - first)
            left = pace * (recipe.steps - trainer.step) / 60
            mean = sum(losses[-100:]) / len(losses[-100:])
            print(
                f"step {trainer.step} / {recipe.steps}  loss {mean:.4f}  {pace:.3f} s/step  ETA {left:.0f} min",
                flush=True,
            )
            if not math.isfinite(mean):
                raise UserError(f"the loss is {mean} at step {trainer.step}", "lower the learning rate")
        if now - saved > 60 * snapshot_minutes:
            trainer.save(snapshot)
            trainer.export(out, codec)
            saved = now
    trainer.save(snapshot)
    trainer.export(out, codec)


def load_codec(folder: Path, recipe: Recipe) -> PatchCodec:
    if not (folder / "config.json").exists():
        video = frames(recipe.seed, "train", range(1500))
        fit_codec(video, recipe.z_dim, recipe.static_dim, recipe.whiten).save_pretrained(folder)
    return PatchCodec.from_pretrained(folder)
