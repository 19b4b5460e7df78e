"""`mutoscope embedded train`: makes the backbone that ships in `harness/embedded/wan_shapes`.

Every number a step needs is a function of (seed, step), and a snapshot holds networks, averages and optimisers, so a
run that was killed goes on to the same bytes on the same machine with the same number of threads.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline
from torch import Tensor, nn

from harness.backbones.base import RectifiedFlow, shift
from harness.backbones.wan_attention import PlainAttention
from harness.data.world import VOCABULARY
from harness.embedded.codec import PatchCodec, fit_codec
from harness.embedded.corpus import Corpus, frames, prepare
from harness.embedded.networks import embed, optimizers, text_encoder, transformer
from harness.embedded.words import build_tokenizer
from harness.errors import UserError
from harness.rng import derive_seed, generator


@dataclass(frozen=True)
class Recipe:
    """What decides the weights. The defaults are those of the shipped folder."""

    steps: int = 15000
    batch: int = 32
    seed: int = 0
    clips: int = 36000  # rendered for training
    codec_clips: int = 1500  # of them, what the codec is fitted to
    layers: int = 4
    width: int = 192
    z_dim: int = 24
    static_dim: int = 12
    whiten: float = 0.5
    text_width: int = 64
    text_layers: int = 2
    text_length: int = 48  # tokens; the longest caption has 45
    rate: float = 1e-3
    muon_rate: float = 0.01
    warmup: int = 200
    decay: float = 0.4  # share of the steps over which the rates fall to zero
    ema: float = 0.999
    dropout: float = 0.1  # captions replaced by the empty prompt
    long_share: float = 0.3  # captions in their long form
    time_shift: float = 1.5  # of the logit-normal time law


class Trainer:
    """Networks, their averages and optimisers, in the state after `step` steps."""

    def __init__(self, recipe: Recipe, device: str = "cpu") -> None:
        torch.manual_seed(derive_seed(recipe.seed, "embedded", "init"))
        self.recipe, self.device, self.step = recipe, torch.device(device), 0
        self.tokenizer = build_tokenizer(VOCABULARY, recipe.text_length)
        self.text = text_encoder(recipe, len(self.tokenizer))
        self.net = transformer(recipe)
        self.net.set_attn_processor(PlainAttention())
        self.both = nn.ModuleDict({"net": self.net, "text": self.text}).to(self.device)
        self.average = {name: p.detach().clone() for name, p in self.both.named_parameters()}
        self.optimizers = optimizers(self.both, recipe)

    def update(self, corpus: Corpus) -> float:
        """One step; returns its loss."""
        loss = self.loss(corpus)
        loss.backward()
        nn.utils.clip_grad_norm_(self.both.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate_factor(self.step, self.recipe)
            optimizer.step()
            optimizer.zero_grad()
        keep = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        names, parameters = zip(*self.both.named_parameters(), strict=True)
        with torch.no_grad():
            torch._foreach_lerp_([self.average[n] for n in names], list(parameters), 1 - keep)
        self.step += 1
        return loss.item()

    def loss(self, corpus: Corpus) -> Tensor:
        """Flow matching, `mean |net(x_t, 1000 t, c) - (eps - x0)|^2`, on the batch of the current step."""
        recipe, noise = self.recipe, generator(self.recipe.seed, "embedded", "noise", self.step)
        x0, captions = draw(corpus, recipe, self.step)
        eps = torch.randn(x0.shape, generator=noise)
        t = shift(torch.randn(recipe.batch, generator=noise).sigmoid(), recipe.time_shift)
        x0, eps, t = (a.to(self.device) for a in (x0, eps, t))
        x = RectifiedFlow().add_noise(x0, eps, t.reshape(-1, 1, 1, 1, 1))
        cond = embed(self.tokenizer, self.text, captions)
        with torch.autocast(self.device.type, torch.bfloat16):
            flow = self.net(hidden_states=x, timestep=1000 * t, encoder_hidden_states=cond, return_dict=False)[0]
        return (flow.float() - (eps - x0)).square().mean()

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
        """Another number of steps is accepted up to where the shorter run's rates begin to fall."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        planned = state["recipe"]["steps"]
        if {**state["recipe"], "steps": 0} != {**asdict(self.recipe), "steps": 0}:
            raise UserError(f"{path} was written by another recipe", "choose another --work, or repeat its options")
        if planned != self.recipe.steps and state["step"] > (1 - self.recipe.decay) * min(planned, self.recipe.steps):
            raise UserError(f"{path} was planned for {planned} steps, and its rates are falling", "keep --steps")
        self.both.load_state_dict(state["networks"])
        self.average, self.step = state["average"], state["step"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    def export(self, folder: Path, codec: PatchCodec) -> None:
        """Write the averaged weights, in bfloat16, as an ordinary WanPipeline folder."""
        net, text = transformer(self.recipe), text_encoder(self.recipe, len(self.tokenizer))
        nn.ModuleDict({"net": net, "text": text}).load_state_dict(self.average, strict=False)
        scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
        pipe: Any = WanPipeline(self.tokenizer, text.bfloat16(), codec, scheduler, net.bfloat16())
        pipe.save_pretrained(folder)
        for file in (folder / "model_index.json", folder / "tokenizer" / "tokenizer_config.json"):
            # transformers 5 renamed the class; both versions know the old name
            file.write_text(file.read_text().replace("TokenizersBackend", "PreTrainedTokenizerFast"))


def draw(corpus: Corpus, recipe: Recipe, step: int) -> tuple[Tensor, list[str]]:
    """Latents `[B, C, F, H, W]` and captions of a step, a function of (seed, step)."""
    rng = np.random.default_rng(derive_seed(recipe.seed, "embedded", "batch", step))
    rows = rng.integers(0, len(corpus.short), recipe.batch)
    forms = rng.random(recipe.batch) < recipe.long_share
    dropped = rng.random(recipe.batch) < recipe.dropout
    captions = [corpus.long[i] if form else corpus.short[i] for i, form in zip(rows, forms, strict=True)]
    captions = ["" if drop else caption for drop, caption in zip(dropped, captions, strict=True)]
    return torch.from_numpy(np.stack([corpus.latents[i] for i in rows])).float(), captions


def rate_factor(step: int, recipe: Recipe) -> float:
    """Linear warm-up, plateau, then a linear fall over the last `decay` of the steps."""
    fall = recipe.decay * recipe.steps
    return min((step + 1) / recipe.warmup, 1.0, (recipe.steps - step) / fall)


def main(recipe: Recipe, out: Path, work: Path, threads: int = 1, snapshot_minutes: float = 4.0) -> None:
    """Train, or go on training, and export to `out` now and then and at the end.

    Args:
        work: keeps the codec, the latents (1 GB) and the snapshot; the same `work` and options continue a killed run.
        threads: of torch; more than one pays only on idle cores, and changes the last bits, as another device does.
    """
    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    work.mkdir(parents=True, exist_ok=True)
    codec = load_codec(work / "codec", recipe)
    corpus = prepare(work, codec, recipe.seed, recipe.clips, os.cpu_count() or 1)
    trainer, snapshot = Trainer(recipe, device), work / "snapshot.pt"
    if snapshot.exists():
        trainer.restore(snapshot)
    begin = saved = time.monotonic()
    first, losses = trainer.step, []
    while trainer.step < recipe.steps:
        losses.append(trainer.update(corpus))
        if trainer.step % 100 == 0:
            report(trainer, losses[-100:], (time.monotonic() - begin) / (trainer.step - first))
        if time.monotonic() - saved > 60 * snapshot_minutes:
            trainer.save(snapshot)
            trainer.export(out, codec)
            saved = time.monotonic()
    trainer.save(snapshot)
    trainer.export(out, codec)
    (out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2) + "\n")


def report(trainer: Trainer, losses: list[float], pace: float) -> None:
    """One line of progress. Raises UserError when the loss is no longer a number."""
    loss, steps = sum(losses) / len(losses), trainer.recipe.steps
    left = pace * (steps - trainer.step) / 60
    print(f"step {trainer.step} / {steps}  loss {loss:.4f}  {pace:.3f} s/step  ETA {left:.0f} min", flush=True)
    if not math.isfinite(loss):
        raise UserError(f"the loss is {loss} at step {trainer.step}", "lower the learning rates")


def load_codec(folder: Path, recipe: Recipe) -> PatchCodec:
    """The codec in `folder`, fitted first if there is none."""
    if not (folder / "config.json").exists():
        video = frames(recipe.seed, "train", range(recipe.codec_clips))
        fit_codec(video, recipe.z_dim, recipe.static_dim, recipe.whiten).save_pretrained(folder)
    return PatchCodec.from_pretrained(folder)
