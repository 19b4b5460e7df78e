"""Frame interpolation: oracles O-VIF1 .. O-VIF4, its guards, the trainer, and the two rows made of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from harness.api import Batch, Needs, Noise, Turn, UserError
from harness.config import merge, validate
from harness.counted import Count, counted
from methods.avd import vif
from methods.avd.frame_plan import FramePlan, HalfRate
from methods.avd.interpolation import (
    InterpolationUNet,
    every_second,
    interpolate,
    interpolation_loss,
    linear_middle,
)
from methods.avd.vif import AvdVif, Interpolator, Vif
from methods.supervised import MultistepCFG
from tests.methods.common import services
from tests.toys import ToyBackbone, ToyOptions

CPU = torch.device("cpu")
TIMES = (1.0, 0.9, 0.757, 0.522)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unet() -> InterpolationUNet:
    torch.manual_seed(0)
    return InterpolationUNet(3, (8, 16, 32)).double()


def upsample(z: Tensor) -> Tensor:
    """Interpolation whose answer is known: the mean of the neighbours."""
    return interpolate(z, linear_middle)


def generators(n: int, seed: int = 7) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


def toy() -> ToyBackbone:
    return ToyBackbone(ToyOptions(), CPU)


def options(cls: Any, **settings: Any) -> Any:
    return validate(cls.Config, merge(cls.preset, settings), "")


def trainer(interp: Any, given: Any = None, **settings: Any) -> Vif:
    return Vif(options(Vif, **settings), {"student": toy(), "interp": interp}, given or services())


def batch(z: Tensor) -> Batch:
    rows = len(z)
    cond, prompts = torch.zeros(rows, 6, 8, dtype=torch.float64), [""] * rows
    return Batch(torch.arange(rows), z, cond, prompts, {}, Noise(0, "train", rows=(0, rows, rows)))


# ---- training --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("frames", "share"), [(21, 10 / 21), (3, 1 / 3), (5, 2 / 5)])
def test_the_loss_of_a_network_that_answers_zero(frames: int, share: float) -> None:  # O-VIF4
    z, net = random(2, 3, frames, 4, 4), unet()
    net.out.load_state_dict({name: 0 * value for name, value in net.out.state_dict().items()})
    loss = interpolation_loss(z, Interpolator(net))
    assert loss.item() == pytest.approx(share * z[:, :, 1::2].square().mean().item(), rel=1e-12)


def test_the_loss_of_the_neighbours_mean() -> None:
    z = torch.tensor([0.0, 5.0, 2.0, 3.0, 8.0]).double().reshape(1, 1, 5, 1, 1)
    assert interpolation_loss(z, upsample).item() == pytest.approx((4**2 + 2**2) / 5)
    assert interpolation_loss(z.bfloat16(), upsample).dtype == torch.float32


def smooth_motion(n: int, seed: int, frames: int = 9, size: int = 8) -> Tensor:
    """Two blobs per clip, one in each channel, in straight motion: `[n, 2, frames, size, size]` float32."""
    u = torch.rand(4, n, 2, 1, generator=torch.Generator().manual_seed(seed))
    start, speed = size * (0.25 + 0.5 * u[:2]), 3 * (u[2:] - 0.5)
    y, x = start + speed * (torch.arange(frames) - frames // 2)  # pixels, [n, 2, frames] each
    grid = torch.arange(size)
    rows, columns = (torch.exp(-((grid - at[..., None]) ** 2) / 2) for at in (y, x))
    return rows[..., :, None] * columns[..., None, :]


def test_training_beats_averaging_the_neighbours() -> None:
    torch.manual_seed(0)
    interp = Interpolator(InterpolationUNet(2, (16, 32, 64)))
    trained = trainer(interp)
    optimizer = torch.optim.AdamW(interp.net.parameters(), 3e-3)
    for step in range(130):
        loss, _ = trained.loss("interp", batch(smooth_motion(16, seed=step)), step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unseen = batch(smooth_motion(64, seed=10_000))
    loss, logs = trained.loss("interp", unseen, 0)
    assert logs["linear"] == pytest.approx(interpolation_loss(unseen.latent, upsample).item())
    assert loss.item() < 0.8 * logs["linear"]  # 0.65 when this was written


def test_what_the_method_is_made_of() -> None:
    assert (Vif.name, Vif.turns, Vif.turns_for(options(Vif))) == ("vif", (Turn("interp"),), (Turn("interp"),))
    assert Vif.turns_for(options(Vif, rate=5.0)) == (Turn("interp", rate=5.0),)
    assert Vif.needs(options(Vif)) == Needs(roles=("interp",), fields=("latent",))
    base = toy()
    interp = Vif.build(options(Vif, channels=[4, 8, 12], norm="batch"), "interp", base, True)
    assert interp.net.out.weight.shape == (3, 4, 1, 1)
    assert {parameter.dtype for parameter in interp.net.parameters()} == {torch.float64}
    assert all(parameter.requires_grad for parameter in interp.net.parameters())
    assert Vif.build(options(Vif), "student", base, False) is base
    for equation in Vif.equations():
        assert len((equation.__doc__ or "").split("\n")[0]) > 20


def test_gradient_reaches_only_the_interpolation_network() -> None:
    base = toy()
    interp = Vif.build(options(Vif), "interp", base, True)
    z = random(2, 3, 5, 4, 4).requires_grad_()
    loss, _ = Vif(options(Vif), {"interp": interp, "student": base}, services()).loss("interp", batch(z), 0)
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in interp.net.parameters())
    assert all(p.grad is None for p in base.net.parameters())


def test_one_latent_frame_is_nothing_to_train_on() -> None:
    with pytest.raises(UserError, match="one latent frame"):
        trainer(Interpolator(unet())).loss("interp", batch(random(2, 3, 1, 4, 4)), 0)


# ---- guards -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [2, 4, 20])
def test_an_even_number_of_frames_is_refused(frames: int) -> None:  # O-VIF1: 20 -> 10 -> 19
    z = random(1, 3, frames, 2, 2)
    model, cond = toy(), torch.zeros(1, 6, 8)
    for attempt in (
        lambda: every_second(z),
        lambda: interpolation_loss(z, upsample),
        lambda: trainer(Interpolator(unet())).loss("interp", batch(z), 0),
        lambda: FramePlan(TIMES, upsample)(model, z, cond, generators(1)),
        lambda: HalfRate(MultistepCFG(2), upsample)(model, z, cond, ()),
    ):
        with pytest.raises(UserError, match=f"{frames} latent frames") as error:
            attempt()
        assert "odd" in error.value.remedy


# ---- rows ------------------------------------------------------------------------------------------------------


def test_the_row_vif_samples_the_base_at_half_the_rate() -> None:
    model, interp = toy(), Interpolator(unet())
    given = services(steps=3, guidance=2.0, shift=3.0)
    sampler = trainer(interp, given, sampler={"shift": 1.0}).sampler()
    noise, cond, count = random(2, 3, 5, 4, 4), model.encode_text(["a", "b"]), Count()
    found = sampler(counted(model, count), noise, cond, ())
    assert sampler.nfe == Vif.nfe(options(Vif, sampler={"shift": 1.0}), given.generate) == 6
    assert (count.clips, count.frames) == (12, 12 * 3)  # 3 of 5 frames
    half = MultistepCFG(3, 2.0, 1.0)(model, noise[:, :, ::2], cond)
    with torch.no_grad():
        assert torch.equal(found, interp(half))


def test_the_row_that_joins_a_student_and_an_interpolation_network() -> None:
    chosen = options(AvdVif)
    assert (chosen.times, chosen.low_steps) == (TIMES, 2)
    assert AvdVif.turns == ()
    assert AvdVif.nfe(chosen, {"steps": 50}) == 4
    assert AvdVif.needs(chosen) == Needs(fields=(), checkpoints={"student": "avd", "interp": "vif"})
    other = options(AvdVif, student="mine", interp="wide", times=[1, 0.5], low_steps=1)
    assert AvdVif.needs(other).checkpoints == {"student": "mine", "interp": "wide"}
    model, interp = toy(), Interpolator(unet())
    roles: Any = {"student": model, "interp": interp}
    joined = AvdVif(other, roles, services())
    noise, cond = random(2, 3, 5, 4, 4), model.encode_text(["a", "b"])
    expected = FramePlan((1.0, 0.5), interp, 1)(model, noise, cond, generators(2))
    assert torch.equal(joined.sampler()(model, noise, cond, generators(2)), expected)
    with pytest.raises(TypeError, match="trains nothing"):
        joined.loss("student", batch(noise), 0)


@pytest.mark.parametrize(
    ("cls", "settings", "words"),
    [
        (AvdVif, {"low_steps": 5}, "low_steps 5, but the sampler makes 4 calls"),
        (AvdVif, {"times": [0.5, 0.9]}, "must descend"),
        (AvdVif, {"times": []}, "must descend"),
        (AvdVif, {"times": [1000, 522]}, "must lie in"),
        (AvdVif, {"low_step": 1}, "low_step"),
        (Vif, {"channels": [8, 0, 8]}, "at least one channel"),
        (Vif, {"channels": [8, 8]}, "channels"),
        (Vif, {"norm": "layer"}, "norm"),
        (Vif, {"rate": 0}, "rate"),
    ],
)
def test_mistakes_name_the_option(cls: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        options(cls, **settings)


def test_the_readmes_rows_are_valid() -> None:
    text = (Path(vif.__file__).parent / "VIF.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    rows = yaml.safe_load(example)["methods"]
    assert set(rows) == {"avd", Vif.name, AvdVif.name}
    assert options(Vif, **rows[Vif.name]).residual
    assert options(AvdVif, **rows[AvdVif.name]) == options(AvdVif)  # what it spells out are the defaults
