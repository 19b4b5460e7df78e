"""Questions about what a backbone's copies and optional abilities do."""

from __future__ import annotations

from typing import Any

from harness.conformance.loading import BackboneBench
from harness.conformance.report import Fault, NotApplicable, Question, demand
from harness.conformance.watched import EMBED_CAPS


def clones(bench: BackboneBench) -> str:
    """A copy answers what its original does, has weights of its own, and is trainable or not as asked."""
    import torch

    model, before = bench.model, bench.ask()
    copy = model.clone(trainable=True)
    demand(all(p.requires_grad for p in copy.net.parameters()), "clone(trainable=True) has parameters without gradient")
    frozen = model.clone(trainable=False)
    demand(not any(p.requires_grad for p in frozen.net.parameters()), "clone(trainable=False) can be trained")
    copy.net.eval()
    demand(
        bool(torch.allclose(bench.ask(model=copy), before, rtol=1e-4, atol=1e-5)), "a fresh copy answers differently"
    )
    answer = copy.predict(bench.draw(1), bench.t(), bench.cond, "native")
    answer.square().mean().backward()
    reached = [p.grad is not None and bool(p.grad.any()) for p in copy.net.parameters()]
    demand(any(reached), "predict() of a trainable copy gives its network no gradient")
    with torch.no_grad():
        for parameter in copy.net.parameters():
            parameter.add_(0.05)
    demand(bool(torch.equal(bench.ask(), before)), "training a copy changes the original: clone() shares weights")
    same = bool(torch.equal(bench.ask(model=copy), before))
    demand(not same, "a copy whose weights have changed still answers as before: predict() does not use its net")
    demand(
        copy.caps == model.caps and copy.native == model.native, "a copy has other caps or another native prediction"
    )
    return f"{sum(reached)} of {len(reached)} tensors of a trainable copy get gradient"


def embeddings(bench: BackboneBench) -> str:
    """Scalar conditions: nothing at first, then a part of the answer; refused by copies that have none."""
    import torch

    has = [name for name, cap in EMBED_CAPS.items() if cap in bench.model.caps]
    w = torch.full((3,), 4.0, dtype=torch.float64)
    try:
        bench.ask(embeds={"guidance": w})
    except TypeError:
        pass
    else:
        raise Fault('predict(embeds={"guidance": w}) of a copy without that embedding must be a TypeError')
    if not has:
        raise NotApplicable("it has neither guidance_embed nor motion_embed among its caps")
    for name in has:
        copy: Any = bench.model.clone(True, embeds=(name,))
        copy.net.eval()
        told = bench.ask(model=copy, embeds={name: w})
        new = bool(torch.allclose(told, bench.ask(), rtol=1e-4, atol=1e-5))
        demand(new, f'a new copy with the embedding "{name}" answers differently; the layer starts at zero')
        copy.predict(bench.draw(1), bench.t(), bench.cond, "native", {name: w}).square().mean().backward()
        more = len(list(copy.net.parameters())) > len(list(bench.model.net.parameters()))
        demand(more, f'a copy with the embedding "{name}" has no new parameters')
        again: Any = copy.clone(True)
        again.net.eval()
        bench.ask(model=again, embeds={name: w})  # a copy of a copy keeps it
    return ", ".join(has)


def attention(bench: BackboneBench) -> str:
    """Over frames, rows summing to 1, differentiable in x."""
    import torch

    if "temporal_attention" not in bench.model.caps:
        raise NotApplicable("temporal_attention is not among its caps")
    x = bench.draw(1).requires_grad_(True)
    found = bench.model.temporal_attention(x, bench.t(), bench.cond)
    frames = x.shape[2]
    demand(bool(found), "temporal_attention() names no layer")
    for name, layer in found.items():
        right = layer.ndim == 4 and len(layer) == len(x) and layer.shape[2:] == (frames, frames)
        demand(right, f"layer {name}: {list(layer.shape)}; expected [{len(x)}, P, {frames}, {frames}]")
        demand(
            bool(torch.allclose(layer.sum(-1), torch.ones_like(layer.sum(-1)), atol=1e-3)),
            f"layer {name}: rows do not sum to 1",
        )
    torch.stack([layer.square().mean() for layer in found.values()]).sum().backward()
    demand(x.grad is not None and bool(x.grad.any()), "temporal_attention() gives x no gradient")
    return f"{len(found)} layers over {frames} frames"


def decode_gradient(bench: BackboneBench) -> str:
    if "decode_grad" not in bench.model.caps:
        raise NotApplicable("decode_grad is not among its caps")
    latents = bench.draw(5, 1).requires_grad_(True)
    bench.model.decode(latents).square().mean().backward()
    demand(latents.grad is not None and bool(latents.grad.any()), "decode() gives its latents no gradient")
    return "decode() passes gradient to its latents"


QUESTIONS = (
    Question("copies", clones, after=("predictions",)),
    Question("scalar embeddings", embeddings, after=("predictions",)),
    Question("temporal attention", attention, after=("predictions",)),
    Question("gradient through decode", decode_gradient, after=("codec",)),
)
