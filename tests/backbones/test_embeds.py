"""Scalar embeddings: the sinusoid's numbers, silence at first, copies of their own, clear refusals."""

from __future__ import annotations

import math

import pytest
import torch

from harness.backbones.embeds import given, names_of, sinusoid
from tests.toys import ToyBackbone, ToyOptions

CPU = torch.device("cpu")


def toy() -> ToyBackbone:
    return ToyBackbone(ToyOptions(), CPU)


def inputs(student: ToyBackbone) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x, torch.tensor([0.3, 0.8], dtype=torch.float64), student.encode_text(["a", "b"])


def test_the_sinusoid() -> None:
    seen = sinusoid(torch.tensor([7.5, 0.0], dtype=torch.float64))
    assert seen.shape == (2, 256)
    assert seen[0, 0].item() == pytest.approx(math.sin(7500.0), abs=1e-9)
    assert seen[0, 128].item() == pytest.approx(math.cos(7500.0), abs=1e-9)
    assert seen[0, 127].item() == pytest.approx(math.sin(0.75), abs=1e-9)  # the slowest rate is exactly 1 / 10000
    assert seen[0, 64].item() == pytest.approx(math.sin(7500 * math.exp(-64 * math.log(10000) / 127)), abs=1e-9)
    assert torch.equal(seen[1], torch.cat([torch.zeros(128), torch.ones(128)]).double())


def test_a_new_embedding_changes_nothing_until_it_is_trained() -> None:
    base = toy()
    student = base.clone(trainable=True, embeds=("guidance", "motion"))
    x, t, cond = inputs(base)
    w = torch.tensor([5.0, 9.0], dtype=torch.float64)
    plain = base.predict(x, t, cond, "native")
    assert torch.equal(plain, student.predict(x, t, cond, "native", {"guidance": w}))
    with torch.no_grad():
        student.net.scalar_embeds.layers["guidance"].weight.normal_(generator=torch.Generator().manual_seed(1))
    told = student.predict(x, t, cond, "native", {"guidance": w})
    assert not torch.allclose(plain, told)
    zero = student.predict(x, t, cond, "native", {"guidance": torch.zeros(2)})
    assert torch.equal(zero, student.predict(x, t, cond, "native"))  # left out means 0
    torch.testing.assert_close(told[1:], student.predict(x[1:], t[1:], cond[1:], "native", {"guidance": w[1:]}))


def test_only_the_told_embedding_gets_gradient() -> None:
    student = toy().clone(trainable=True, embeds=("guidance", "motion"))
    x, t, cond = inputs(student)
    student.predict(x, t, cond, "native", {"guidance": torch.tensor([1.0, 2.0])}).square().sum().backward()
    layers = student.net.scalar_embeds.layers
    assert layers["guidance"].weight.grad.abs().sum() > 0
    motion = layers["motion"].weight.grad  # embeds 0: sin 0 = 0, cos 0 = 1
    assert motion[:, :128].abs().sum() == 0
    assert motion[:, 128:].abs().sum() > 0


def test_motion_is_a_sixteenth_of_guidance() -> None:
    """Its cosines move together under Adam; the factor is what keeps a step of theirs small."""
    student = toy().clone(trainable=True, embeds=("guidance", "motion"))
    layers = student.net.scalar_embeds.layers
    x, t, cond = inputs(student)
    weight, w = torch.randn(layers["guidance"].weight.shape, generator=torch.Generator().manual_seed(1)), torch.ones(2)
    answers = []
    for name, factor in (("guidance", 1.0), ("motion", 16.0)):
        for layer in layers.values():
            layer.weight.data.zero_()
        layers[name].weight.data.copy_(factor * weight)
        answers.append(student.predict(x, t, cond, "native", {name: w}))
    torch.testing.assert_close(*answers)


def test_copies_have_their_own() -> None:
    student = toy().clone(trainable=True, embeds=("guidance",))
    other = student.clone(trainable=True)
    assert names_of(other.net) == ("guidance",)
    with torch.no_grad():
        student.net.scalar_embeds.layers["guidance"].weight.fill_(1.0)
    x, t, cond = inputs(student)
    w = {"guidance": torch.tensor([5.0, 9.0])}
    assert torch.equal(other.predict(x, t, cond, "native", w), other.predict(x, t, cond, "native"))
    assert not torch.allclose(student.predict(x, t, cond, "native", w), other.predict(x, t, cond, "native", w))
    other.net.load_state_dict(student.net.state_dict())
    assert torch.equal(student.predict(x, t, cond, "native", w), other.predict(x, t, cond, "native", w))


def test_refusals() -> None:
    base = toy()
    x, t, cond = inputs(base)
    with pytest.raises(TypeError, match="no scalars"):
        base.predict(x, t, cond, "native", {"guidance": torch.ones(2)})
    student = base.clone(trainable=True, embeds=("guidance",))
    with pytest.raises(TypeError, match="not \\['motion'\\]"), given(student.net, {"motion": torch.ones(2)}):
        pass
    with pytest.raises(TypeError, match="cannot gain"):
        student.clone(trainable=True, embeds=("motion",))
