"""AVD's parts in the trainer: equation (9), the gate, the cache, the variants, the guards."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.api import UserError
from methods.avd.equations import (
    RHO,
    gate,
    student_objective,
    temporal_loss,
    temporal_variance,
    threshold_variance,
    visit,
)
from methods.avd.parts import over_processes
from methods.dmd import StudentTurn
from methods.dmd.rollout import pick
from methods.supervised import MultistepCFG
from tests.methods.common import options
from tests.methods.matching import clips, matching, train

F64 = torch.float64
NEW = torch.full((4,), math.nan, dtype=F64)


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=F64)


# ---- the parts in the trainer --------------------------------------------------------------------------------------


def begun(name: str, **settings: Any) -> Any:
    method = matching(name, **settings)
    method.begin(clips("probe"))
    return method


def regression_of(method: Any, batch: Any) -> tuple[Tensor, Tensor]:
    """(L_reg, k) after a student turn's other draws, from the definition."""
    batch.noise.normal(batch.latent)
    batch.noise.uniform()
    for _ in method.times[1:]:
        batch.noise.normal(batch.latent)
    batch.noise.normal(batch.latent)
    batch.noise.uniform()
    eps, k = batch.noise.normal(batch.latent), pick(batch.noise.uniform(), len(method.times))
    t = method.times[k].reshape(-1, 1, 1, 1, 1)
    y_t = (1 - t) * batch.latent + t * eps
    flow = method.student.predict(y_t, method.times[k], batch.cond, "flow")
    return (flow - (eps - batch.latent)).square().mean((1, 2, 3, 4)).detach(), k


def test_the_students_turn_is_equation_nine() -> None:
    method = begun("avd")
    method.extras["temporal"].teacher_variance = scalar(100.0)  # far above: the gate is open
    known = torch.tensor([0.3, 0.8, 1.2, math.nan], dtype=F64)
    method.extras["adaptive_regression"].cache = known.clone()
    losses, k = regression_of(method, clips())
    match = method.observe(clips())[0]
    loss, logs = method.loss("student", clips(), 0)
    weights, cache = visit(known, k.tolist(), losses)
    assert len(set(weights.tolist())) == len(weights)
    variance = temporal_variance(match.x.detach())
    wanted = student_objective(scalar(logs["kl"]), losses, weights, temporal_loss(variance))
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-9)
    assert logs["reg"] == pytest.approx(losses.mean().item(), rel=1e-9)
    assert logs["w"] == pytest.approx(weights.mean().item(), rel=1e-9)
    assert (logs["gate"], logs["variance"]) == (1.0, pytest.approx(variance.item()))
    visited = {i for i, value in enumerate(cache.tolist()) if not math.isnan(value)}
    assert {key for key in logs if key.startswith("cache_")} == {f"cache_{i}" for i in visited}
    assert all(logs[f"cache_{i}"] == pytest.approx(cache[i].item()) for i in visited)


def test_the_ratio_is_of_the_two_gradients_in_x() -> None:
    method = begun("dmd+tr", extra_losses={"temporal": {"w_temp": 0.3}})
    match = method.observe(clips())[0]
    _, logs = method.loss("student", clips(), 0)
    temporal = torch.autograd.grad(0.3 * temporal_loss(temporal_variance(match.x)), match.x)[0]
    assert logs["temp_ratio"] == pytest.approx((temporal.norm() / (match.g / match.g.numel()).norm()).item(), rel=1e-9)


@pytest.mark.parametrize("threshold", [-50.0, 50.0])
def test_the_gate_gives_the_whole_gradient_or_none(threshold: float) -> None:
    """Below the threshold the loss and every gradient are DMD's, bit for bit; there is no latch."""
    regularised = matching("dmd+tr", extra_losses={"temporal": {"threshold": threshold}})
    plain = matching("dmd")
    found = []
    for method in (regularised, plain):
        loss, logs = method.loss("student", clips(), 0)
        loss.backward()
        found.append((loss.item(), [p.grad for p in method.student.net.parameters()], logs))
    closed = threshold > 0
    assert (found[0][0] == found[1][0]) == closed
    assert all(torch.equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True)) == closed
    assert found[0][2]["gate"] == float(not closed)
    assert found[0][2]["temp"] == pytest.approx(-2 * math.log(found[0][2]["variance"] + 1e-6))
    assert found[0][2]["threshold"] == threshold


def test_the_gate_opens_again() -> None:
    part = begun("dmd+tr").extras["temporal"]
    part.teacher_variance = scalar(1.0)
    states = [bool(gate(temporal_loss(scalar(v)), part.threshold())) for v in (0.5, 1.6, 0.5)]
    assert states == [True, False, True]


def test_the_teacher_is_measured_once_on_guided_samples() -> None:
    method, probe = matching("avd"), clips("probe")
    method.begin(probe)
    again = clips("probe")
    noise = again.noise.normal(again.latent)
    sample = MultistepCFG(25, 6.0, 5.0)(method.roles["teacher"], noise, again.cond)
    measured = method.extras["temporal"].teacher_variance
    assert measured.item() == pytest.approx(temporal_variance(sample).item(), rel=1e-12)
    assert method.loss("student", clips(), 0)[1]["threshold"] == pytest.approx(
        -2 * math.log(RHO * measured.item() + 1e-6)
    )
    unmeasured = matching("avd")
    with pytest.raises(UserError, match="the teacher's variance over time was not measured"):
        unmeasured.loss("student", clips(), 0)
    with pytest.raises(UserError, match="measured on the teacher"):
        matching("avd", given={"student": method.student}).begin(clips("probe"))


def test_temporal_regularisation_raises_the_variance() -> None:
    """Descending L_temp makes the student move more, up to the gate."""
    settings = {"ratio": 1, "guidance": 1.0, "times": (1.0, 0.6)}
    strong = {"temporal": {"w_temp": 1.0, "threshold": -1.0}}
    rows = {
        name: [row for row in train(method, 40, lr=4e-3) if row["role"] == "student"]
        for name, method in (
            ("plain", matching("dmd+tr", extra_losses={"temporal": {"w_temp": 0.0, "threshold": -1.0}}, **settings)),
            ("pushed", matching("dmd+tr", extra_losses=strong, **settings)),
        )
    }
    assert rows["plain"][0]["variance"] == rows["pushed"][0]["variance"] < threshold_variance(-1.0)
    assert rows["pushed"][-1]["variance"] > 1.5 * rows["plain"][-1]["variance"]
    assert {row["gate"] for row in rows["pushed"]} == {0.0, 1.0}


def test_one_frame_and_no_number_skip_the_term() -> None:
    method = matching("dmd+tr")
    method.begin(clips("probe", frames=1))
    loss, logs = method.loss("student", clips(frames=1), 0)
    assert loss.item() == logs["kl"]
    assert logs["temp_skipped"] == 1.0
    assert "gate" not in logs
    part = begun("dmd+tr").extras["temporal"]
    batch = clips()
    match, _ = begun("dmd+tr").observe(batch)
    broken = StudentTurn(batch, replace(match, x=match.x * math.nan), match.g)
    assert part(broken) == (None, {"temp_skipped": 1.0})


def test_constant_regression_has_avds_mean_weight() -> None:
    """D-AVD5: w_reg x 0.5, what the adaptive weight is at its average."""
    method, adaptive = begun("dmd+tr+reg"), begun("avd")
    losses, _ = regression_of(method, clips())
    loss, logs = method.loss("student", clips(), 0)
    without = begun("dmd+tr").loss("student", clips(), 0)[0]
    assert (loss - without).item() == pytest.approx(2.0 * 0.5 * losses.mean().item(), rel=1e-9)
    assert logs["w"] == 0.5
    first = clips(size=1)
    assert adaptive.loss("student", first, 0)[1]["w"] == 0.5  # a first visit


def test_variants_are_settings() -> None:
    paper, released = options("avd"), options("avd", variant="released")
    temporal, adaptive = paper.extra_losses
    assert (temporal["w_temp"], temporal["threshold"], temporal["square"], temporal["eps"]) == (
        0.05, "relative", True, 1e-6,
    )  # fmt: skip
    assert (adaptive["w_reg"], adaptive["a"], adaptive["k"], adaptive["init"], adaptive["ema_before_weight"]) == (
        2.0, 0.95, 3.0, "first", False,
    )  # fmt: skip
    temporal, adaptive = released.extra_losses
    assert (temporal["square"], temporal["threshold"], temporal["w_temp"]) == (False, 0.8, 0.05)
    assert (adaptive["w_reg"], adaptive["ema_before_weight"], adaptive["init"]) == (1.0, True, "first")
    (_, constant) = options("dmd+tr+reg", variant="released").extra_losses
    assert constant["w_reg"] * constant["reg_const"] == 1.0
    mixed = options("avd", variant="released", extra_losses={"temporal": {"square": True}})
    assert (mixed.extra_losses[0]["square"], mixed.extra_losses[0]["threshold"]) == (True, 0.8)
    assert type(released).model_validate(released.model_dump(mode="json")) == released
    with pytest.raises(UserError, match="variant"):
        options("avd", variant="printed")


def test_the_cache_is_kept_with_the_checkpoint() -> None:
    """A resumed method goes on with the same cache, threshold and numbers."""
    whole = matching("avd", ratio=2)
    wanted = train(whole, 8)
    killed = matching("avd", ratio=2)
    train(killed, 4)
    state = {key: value.clone() for key, value in killed.state_dict().items()}
    assert set(state) == {"first_fake", "temporal/teacher_variance", "adaptive_regression/cache"}
    assert not state["adaptive_regression/cache"].isnan().all()
    resumed = matching("avd", given=killed.roles, ratio=2)
    resumed.optimizers = killed.optimizers
    resumed.load_state_dict(state)
    assert train(resumed, 4, start=4) == wanted[-len(train_rows(4, 8)) :]
    assert torch.equal(resumed.state_dict()["adaptive_regression/cache"], whole.extras["adaptive_regression"].cache)


def train_rows(start: int, stop: int) -> list[int]:
    """Steps of the log rows from `start` on, at ratio 2."""
    return [step for step in range(start, stop) for _ in range(2 if step % 2 == 0 else 1)]


def one_of_two(rank: int, folder: str) -> None:
    """A process of two: its clips' weights, and the cache afterwards, to a file."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    losses, positions = (part[2 * rank : 2 * rank + 2] for part in (LOSSES, POSITIONS))
    every, order, first = over_processes(losses, positions)
    weights, cache = visit(NEW, order.tolist(), every)
    torch.save((weights[first : first + 2], cache), f"{folder}/{rank}")
    torch.distributed.destroy_process_group()


LOSSES, POSITIONS = torch.tensor([1.0, 0.2, 0.7, 1.5], dtype=F64), torch.tensor([0, 3, 0, 3])


def test_processes_share_one_cache(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    weights, caches = zip(*(torch.load(tmp_path / str(rank)) for rank in range(2)), strict=True)
    alone, cache = visit(NEW, POSITIONS.tolist(), LOSSES)
    assert torch.equal(torch.cat(weights), alone)
    assert all(torch.equal(found[[0, 3]], cache[[0, 3]]) for found in caches)
