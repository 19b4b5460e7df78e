import pytest
import torch
from diffusers import WanTransformer3DModel

from harness.backbones import wan_attention
from harness.backbones.wan_attention import PlainAttention, rotate


@pytest.fixture
def net() -> WanTransformer3DModel:
    torch.manual_seed(0)
    return WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=8, freq_dim=16,
        ffn_dim=32, num_layers=2, rope_max_seq_len=32,
    ).double()  # fmt: skip


def run(net: WanTransformer3DModel) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 3, 8, 6, generator=draw, dtype=torch.float64).requires_grad_()
    cond = torch.randn(2, 7, 8, generator=draw, dtype=torch.float64)
    out = net(x, torch.tensor([300.5, 999.0], dtype=torch.float64), cond, return_dict=False)[0]
    return out, torch.autograd.grad(out.square().sum(), x)[0]


def test_agrees_with_diffusers(net: WanTransformer3DModel) -> None:
    theirs = run(net)
    net.set_attn_processor(PlainAttention())
    ours = run(net)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)  # diffusers rounds times and rotations to float32


def test_long_sequences_take_the_fused_kernel(net: WanTransformer3DModel, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = run(net)
    monkeypatch.setattr(wan_attention, "SHORT", 35)  # one token less than the clip has
    processor, calls = PlainAttention(), []
    fused = processor.fused
    processor.fused = lambda *a, **k: calls.append(1) or fused(*a, **k)
    net.set_attn_processor(processor)
    assert torch.equal(run(net)[0], theirs[0])
    assert len(calls) == 4  # self and cross attention of two blocks


def test_rotation_is_by_the_angle() -> None:
    turn = torch.polar(torch.ones(1, 1, 1, 2), torch.tensor([torch.pi / 2, 0.0]).reshape(1, 1, 1, 2))
    x = torch.tensor([1.0, 0.0, 3.0, 4.0]).reshape(1, 1, 1, 4)
    torch.testing.assert_close(rotate(x, turn).flatten(), torch.tensor([0.0, 1.0, 3.0, 4.0]))
