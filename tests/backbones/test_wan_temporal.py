"""Attention over frames of a full-3D-attention transformer, and its scalar embeddings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness.api import ClipSpec
from harness.backbones.wan import Wan, WanConfig
from harness.backbones.wan_attention import FrameAttention, rotate, unit_numbers
from tests.backbones.wan_folders import tiny_wan


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Wan:
    folder: Path = tiny_wan(tmp_path_factory.mktemp("wan"))
    return Wan.load(WanConfig(path=str(folder)), torch.device("cpu"))


def noisy(frames: int = 3, batch: int = 2) -> tuple[Tensor, Tensor]:
    x = torch.randn(batch, 4, frames, 4, 6, generator=torch.Generator().manual_seed(0))
    return x, torch.linspace(0.4, 0.9, batch, dtype=torch.float64)


def test_rows_are_distributions_over_frames_of_one_position(wan: Wan) -> None:
    x, t = noisy()
    found = wan.temporal_attention(x, t, wan.null_cond(2))
    assert list(found) == ["blocks.0.attn1", "blocks.1.attn1"]
    for attention in found.values():
        assert attention.shape == (2, 2 * 2 * 3, 3, 3)  # heads x positions of 2 x 2 patches
        torch.testing.assert_close(attention.sum(-1), torch.ones(2, 12, 3))
        assert attention.std() > 1e-3  # not the uniform answer of a layer that saw nothing


def test_it_is_the_layers_own_attention_restricted_to_a_position(wan: Wan) -> None:
    """From the layer's full attention over all tokens: keep one position's frames and normalise again."""
    x, t = noisy()
    layer, seen = wan.net.blocks[1].attn1, {}
    inner = layer.processor

    def spy(attn, hidden, encoder=None, mask=None, rotary=None):  # type: ignore[no-untyped-def]
        query, key = attn.norm_q(attn.to_q(hidden)), attn.norm_k(attn.to_k(hidden))
        turn = unit_numbers(rotary, query.dtype)
        query, key = (rotate(a.unflatten(2, (2, -1)), turn).transpose(1, 2) for a in (query, key))
        seen["full"] = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)  # [B, heads, N, N]
        return inner(attn, hidden, encoder, mask, rotary)

    layer.processor = spy
    try:
        with torch.no_grad():
            wan.predict(x, t, wan.null_cond(2), "native")
            expected = torch.empty(2, 2, 6, 3, 3)
            for position in range(6):
                tokens = torch.arange(3) * 6 + position
                part = seen["full"][:, :, tokens][..., tokens]
                expected[:, :, position] = part / part.sum(-1, keepdim=True)
            layer.processor = inner
            found = wan.temporal_attention(x, t, wan.null_cond(2))["blocks.1.attn1"]
    finally:
        layer.processor = inner
    torch.testing.assert_close(found, expected.flatten(1, 2), atol=1e-5, rtol=1e-4)


def test_it_leaves_the_network_as_it_was(wan: Wan) -> None:
    x, t = noisy()
    before = wan.predict(x, t, wan.null_cond(2), "native")
    processors = [block.attn1.processor for block in wan.net.blocks]
    wan.temporal_attention(x, t, wan.null_cond(2))
    assert [block.attn1.processor for block in wan.net.blocks] == processors
    assert not any(isinstance(p, FrameAttention) for p in processors)
    assert torch.equal(wan.predict(x, t, wan.null_cond(2), "native"), before)


def test_gradient_reaches_the_latents(wan: Wan) -> None:
    """Against central differences along one direction; the network's normalisations are float32 at best."""
    net = wan.clone(trainable=False)
    net.net.double()
    x, t = noisy()
    x = x.double().requires_grad_()
    cond = wan.null_cond(2).double()

    def energy(z: Tensor) -> Tensor:
        return sum((a[..., 0].square().sum() for a in net.temporal_attention(z, t, cond).values()), torch.zeros(()))

    (gradient,) = torch.autograd.grad(energy(x), x)
    way = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    h = 1e-2
    with torch.no_grad():
        slope = (energy(x + h * way) - energy(x - h * way)) / (2 * h)
    torch.testing.assert_close((gradient * way).sum(), slope, rtol=2e-3, atol=1e-7)


def test_a_single_frame_attends_to_itself(wan: Wan) -> None:
    x, t = noisy(frames=1)
    for attention in wan.temporal_attention(x, t, wan.null_cond(2)).values():
        assert torch.equal(attention, torch.ones(2, 12, 1, 1))


def test_scalar_embeddings_of_the_transformer(wan: Wan) -> None:
    student = wan.clone(trainable=True, embeds=("guidance", "motion"))
    x, t = noisy()
    cond, w = wan.null_cond(2), {"guidance": torch.tensor([5.0, 12.0])}
    plain = wan.predict(x, t, cond, "native")
    torch.testing.assert_close(student.predict(x, t, cond, "native", w), plain)
    new = set(student.net.state_dict()) - set(wan.net.state_dict())
    assert new == {"scalar_embeds.layers.guidance.weight", "scalar_embeds.layers.motion.weight"}
    with torch.no_grad():
        student.net.scalar_embeds.layers["guidance"].weight.normal_(generator=torch.Generator().manual_seed(1))
    assert (student.predict(x, t, cond, "native", w) - plain).abs().max() > 1e-3
    zero = {"guidance": torch.zeros(2), "motion": torch.zeros(2)}
    assert torch.equal(student.predict(x, t, cond, "native"), student.predict(x, t, cond, "native", zero))
    assert student.latent_shape(ClipSpec(frames=9, height=16, width=16)) == (4, 3, 2, 2)
