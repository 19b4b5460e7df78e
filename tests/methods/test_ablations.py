"""Parts combined in a suite file, without code: each row runs, and a number shows the part at work."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import tests.methods.consistency_toys  # noqa: F401  registers the toy rewards
from harness import config, suite
from harness.api import Batch, Noise, UserError
from harness.executors import InProcess
from harness.plan import make_plan
from harness.registry import methods as registered
from harness.rows import resolve_rows
from harness.store import RunDir
from methods.avd.equations import regression_loss
from methods.consistency import Consistency
from methods.consistency.equations import pseudo_huber, solver_index
from methods.consistency.grid import SolverGrid
from methods.dmd.rollout import Places, nearest
from methods.fewstep import Renoise
from methods.ltd import LtdOptions, LtdWeight
from methods.supervised import FewSteps, SamplerOptions, chosen
from tests.methods.common import batch, options, services
from tests.methods.consistency_toys import distiller, rows_of, toy
from tests.methods.matching import clips, matching, roles
from tests.toy_plugins import toy_suite

STEPS = 3
SMALL: dict[str, Any] = {"ratio": 1, "times": [1.0, 0.75, 0.5, 0.25]}
GRID = {"solver_steps": 20}
LAWS: tuple[dict[str, Any], ...] = ({}, {"score_law": "uniform"})  # of scores: the default, and another
STILL = {"temporal": {"threshold": -50.0}}  # a gate that never closes
REWARDED = {"rewards": {"rewards": ["toy-brightness"], "beta_img": 0.5, "reward_frames": 1}}

ROWS: dict[str, dict[str, Any]] = {
    "dmd": {"method": "dmd", **SMALL},
    "avd": {"method": "avd", **SMALL, "extra_losses": STILL},
    "avd-no-temporal": {"method": "avd", **SMALL, "extra_losses": {"temporal": None}},
    "dmd+adaptive": {"method": "dmd", **SMALL, "extra_losses": {"adaptive_regression": {}}},
    "avd-no-regression": {"method": "avd", **SMALL, "extra_losses": {**STILL, "adaptive_regression": None}},
    "dmd-data": {"method": "dmd", **SMALL, "rollout": "data"},
    "tqd-on-data": {"method": "dmd", **SMALL, "rollout": "data", "time_law": "tqd_beta", "retention": "tqd"},
    "dmd-uniform-scores": {"method": "dmd", **SMALL, "score_law": "uniform"},
    "avd-ltd": {"method": "avd", **SMALL, "extra_losses": STILL, "element_weight": "ltd"},
    "msm+tr": {"method": "msm", "rollout": "simulate", **SMALL, "extra_losses": STILL},
    "dmd+rewards": {"method": "dmd", **SMALL, "extra_losses": REWARDED},
    "lcm": {"method": "lcm", **GRID},
    "lcm-ltd": {"method": "lcm", **GRID, "element_weight": "ltd"},
    "lcm-twice": {"method": "lcm", **GRID, "element_weight": {"name": "const", "value": 2.0}},
    "lcm-late": {"method": "lcm", **GRID, "time_law": {"name": "discrete", "times": [0.9]}},
    "lcm-filtered": {"method": "lcm", **GRID, "retention": "tqd"},
    "lcm+tr": {"method": "lcm", **GRID, "extra_losses": STILL},
    "vcm-averaged": {"method": "vcm", **GRID, "target": "ema", "ema_decay": 0.5},
    "tqd-ltd": {"method": "tqd", "element_weight": "ltd"},
    "base-few": {"method": "base", "sampler": {"name": "renoise", "times": [1.0, 0.6], "guidance": 1.0}},
    "dmd-two-calls": {"method": "dmd", **SMALL, "sampler": {"times": [1.0, 0.5], "stochastic": False}},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDir]:
    """Every row, trained for a few steps, sampled and scored by the ordinary crank."""
    train = {"steps": STEPS, "batch": 4}
    spec = toy_suite(methods=ROWS, train=train, prompts={"texts": ["grey level 90"]}, metrics=["toy/brightness"])
    whole, root = config.validate(suite.Suite, spec, ""), tmp_path_factory.mktemp("runs")
    plan = make_plan(whole, root, plugins=("tests.toy_plugins",))
    with pytest.MonkeyPatch.context() as patch:  # pictures have tests of their own, and take most of the time
        for cell in plan.cells:
            patch.setattr(registered.get(cell.method), "diagnostics", lambda *_: {})
        patch.setattr("harness.diagnostics.draw", lambda *_: None)
        outcomes = InProcess().run(plan, "cpu", lambda *_: None)
    assert {outcome.cell.row: outcome.problems for outcome in outcomes if outcome.problems} == {}
    return {outcome.cell.row: RunDir(outcome.cell.path) for outcome in outcomes}


def logged(run: RunDir, *names: str, role: str = "student") -> list[tuple[float, ...]]:
    return [tuple(row[name] for name in names) for row in run.train_log() if row["role"] == role]


def first(run: RunDir, name: str, role: str = "student") -> float:
    """At step 0, where all rows of a family still have the same weights."""
    return logged(run, name, role=role)[0][0]


def test_every_row_ran_to_its_end(runs: dict[str, RunDir]) -> None:
    assert set(runs) == set(ROWS)
    assert all(run.done for run in runs.values())
    steps = {row: len({entry["step"] for entry in run.train_log()}) for row, run in runs.items()}
    assert steps == {row: 0 if row == "base-few" else STEPS for row in ROWS}


# ---- distribution matching ------------------------------------------------------------------------------------------


def test_avd_without_its_temporal_term_is_dmd_with_adaptive_regression(runs: dict[str, RunDir]) -> None:
    one, other = (logged(runs[row], "loss", "kl", "reg", "w", "gnorm") for row in ("avd-no-temporal", "dmd+adaptive"))
    assert one == other
    assert first(runs["avd-no-temporal"], "kl") == first(runs["dmd"], "kl")
    level = matching("avd", **SMALL, extra_losses={"temporal": None, "adaptive_regression": {"k": 0.0}})
    loss, logs = level.loss("student", clips(), 0)
    assert logs["w"] == 0.5
    assert loss.item() == pytest.approx(logs["kl"] + 2.0 * 0.5 * logs["reg"], rel=1e-12)


def test_avd_is_the_sum_of_its_parts(runs: dict[str, RunDir]) -> None:
    kl, regression = first(runs["dmd"], "loss"), first(runs["avd-no-temporal"], "loss")
    temporal = first(runs["avd-no-regression"], "loss")
    assert first(runs["avd"], "loss") == pytest.approx(regression + temporal - kl, rel=1e-12)
    assert temporal - kl == pytest.approx(0.05 * first(runs["avd"], "temp"), rel=1e-9)


def test_msm_takes_the_temporal_term_too(runs: dict[str, RunDir]) -> None:
    loss, kl, msm, temp = logged(runs["msm+tr"], "loss", "kl", "msm", "temp")[0]
    assert loss == pytest.approx(kl + msm + 0.05 * temp, rel=1e-12)
    assert msm > 0


def test_tqd_on_the_data_branch_moves_that_branch_alone() -> None:
    """A clip of pure motion is asked about at noise, one of pure looks near the data; scores stay where they were."""
    given = services()
    rows = batch([4] * 200 + [5] * 200, given, shape=(3, 2, 2, 2))  # (m, q) = (1, 0), then (0, 1)
    cls = registered.get("dmd")
    made = {
        law: cls(options("dmd", **SMALL, rollout="data", **law_options), roles(), given)
        for law, law_options in (("own", {}), ("tqd", {"time_law": "tqd_beta"}))
    }
    k = {law: method.rollout(again(rows))[1] for law, method in made.items()}
    assert k["tqd"][:200].tolist() == [0] * 200
    assert k["tqd"][200:].tolist() == [3] * 200
    counts = np.bincount(k["own"].numpy(), minlength=4) / 400
    assert counts == pytest.approx([0.25] * 4, abs=0.08)
    times = [method.observe(again(rows))[0].t for method in made.values()]
    assert torch.equal(*times)


def again(data: Batch) -> Batch:
    """The same batch with its noise at the start."""
    return replace(data, noise=Noise(0, "train", "student", 0, rows=(0, len(data.index), len(data.index))))


def test_the_nearest_of_the_students_times_is_taken() -> None:
    times = torch.tensor([1.0, 0.75, 0.5, 0.25], dtype=torch.float64)
    asked = torch.tensor([0.99, 0.8, 0.62, 0.38, 0.01], dtype=torch.float64)
    assert nearest(asked, times).tolist() == [0, 1, 2, 2, 3]
    data = clips(size=3)
    u = clips(size=3).noise.uniform()
    assert Places(times)(data).tolist() == (u * 4).long().tolist()


def test_retention_decides_which_clips_a_distilled_row_sees(runs: dict[str, RunDir]) -> None:
    """Clips 4 and 5 have p = 1, clip 3 has p = 0.3: they are drawn in that proportion."""
    given = services()
    cls = registered.get("dmd")
    method = cls(options("dmd", **SMALL, rollout="data", retention="tqd"), roles(), given)
    drawn = np.bincount(method.draw(np.random.default_rng(0), 20_000), minlength=6)
    assert drawn[3] / drawn[4] == pytest.approx(0.3, abs=0.02)
    plain = matching("dmd", **SMALL)
    assert plain.draw(np.random.default_rng(3), 7).tolist() == np.random.default_rng(3).integers(0, 6, 7).tolist()
    assert first(runs["lcm-filtered"], "cd") != first(runs["lcm"], "cd")


def test_another_law_for_the_times_of_scores(runs: dict[str, RunDir]) -> None:
    u = clips(size=64).noise.uniform()
    own, other = (matching("dmd", **SMALL, **law).score_times(clips(size=64)) for law in LAWS)
    assert torch.allclose(own, (5 * u / (1 + 4 * u)).clamp(0.02, 0.98), rtol=0, atol=1e-12)
    assert torch.equal(other, u.clamp(0.02, 0.98))
    assert first(runs["dmd-uniform-scores"], "t", "fake") < first(runs["dmd"], "t", "fake")


def test_ltd_weighs_avds_error_on_real_clips(runs: dict[str, RunDir]) -> None:
    """Clips of one grey level that brightens by 1 of 255 a frame: w is just above 2 everywhere."""
    plain, weighed = first(runs["avd"], "reg"), first(runs["avd-ltd"], "reg")
    step = 2 / 255 * math.sqrt(3)  # |z(i+1) - z(i)| over three channels
    assert weighed / plain == pytest.approx(2 + math.log1p(step / math.e), rel=1e-3)
    error = torch.ones(1, 3, 2, 1, 1, dtype=torch.float64)
    w = torch.tensor([1.0, 3.0], dtype=torch.float64).reshape(1, 1, 2, 1, 1)
    assert regression_loss(error, 0 * error, w).tolist() == [2.0]


def test_rewards_on_a_distribution_matching_row(runs: dict[str, RunDir]) -> None:
    loss, kl, reward = logged(runs["dmd+rewards"], "loss", "kl", "reward_toy-brightness")[0]
    assert kl == first(runs["dmd"], "kl")  # their draws come last
    assert loss == pytest.approx(kl - 0.5 * reward, rel=1e-9)


# ---- consistency ----------------------------------------------------------------------------------------------------


def test_ltd_weighs_the_distillation_loss(runs: dict[str, RunDir]) -> None:
    plain, twice = first(runs["lcm"], "cd"), first(runs["lcm-twice"], "cd")
    assert twice == pytest.approx(2 * plain, rel=1e-12)
    assert 2 < first(runs["lcm-ltd"], "cd") / plain < 2.02
    d = torch.tensor([0.0, 0.3], dtype=torch.float64)
    assert float(pseudo_huber(d, 0.4, torch.tensor([5.0, 3.0]))) == pytest.approx(3 * 0.1 / 2)


def test_ltd_weighs_each_element_where_it_moves() -> None:
    data = rows_of(distiller("lcm"))
    data.latent[:3] = data.latent[:3, :, :1]  # three clips stand still
    method, distance, seen = distiller("lcm", element_weight="ltd"), Consistency.distance, list[torch.Tensor]()

    def watched(x0: torch.Tensor, goal: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        seen.append((x0 - goal).detach())
        return distance(method, x0, goal, weight)

    method.distance = watched
    loss, _ = method.loss("student", again(data), 0)
    w = LtdWeight(LtdOptions(), services())(data, torch.zeros(6))
    assert float(w[:3].max()) == 2.0
    assert float(w[3:].min()) > 2.1
    assert loss.item() == pytest.approx(float(pseudo_huber(seen[0], 0.001, w)), rel=1e-12)


@pytest.mark.parametrize("family", ["flow", "v"])
def test_a_time_law_chooses_the_solver_steps(family: Any) -> None:
    grid = SolverGrid(toy(family).schedule, 20, 5.0)
    starts, ends = grid.time(torch.arange(20)), grid.previous(torch.arange(20))
    assert grid.containing(starts).tolist() == list(range(20))
    assert grid.containing((starts + ends) / 2)[1:].tolist() == list(range(1, 20))
    assert grid.containing(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist() == [0, 19]


def test_the_grids_own_law_is_the_default() -> None:
    """`shifted_uniform` with the grid's shift gives every step alike, from the same uniform numbers."""
    given = services()
    law = distiller("lcm", time_law={"name": "shifted_uniform", "s": 5.0, "t_min": 0.0, "t_max": 1.0})
    data = batch(range(6), given)
    u = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(law.grid.containing(law.guests.time_law(u, data)), solver_index(u, 20))


def test_a_late_law_trains_late_steps_only(runs: dict[str, RunDir]) -> None:
    times = [t for (t,) in logged(runs["lcm-late"], "t")]
    assert times == pytest.approx([5 * 0.65 / (1 + 4 * 0.65)] * STEPS)  # 0.9 lies in (t_12, t_13] of 20 shifted steps
    assert len({t for (t,) in logged(runs["lcm"], "t")}) == STEPS


def test_extra_losses_on_a_consistency_row(runs: dict[str, RunDir]) -> None:
    loss, cd, temp = logged(runs["lcm+tr"], "loss", "cd", "temp")[0]
    assert cd == first(runs["lcm"], "cd")
    assert loss == pytest.approx(cd + 0.05 * temp, rel=1e-6)


def test_regression_on_a_consistency_row_asks_at_its_sampling_times() -> None:
    method = distiller("lcm", extra_losses={"regression": {"w_reg": 3.0}})
    loss, logs = method.loss("student", rows_of(method), 0)
    assert loss.item() == pytest.approx(logs["cd"] + 3.0 * 0.5 * logs["reg"], rel=1e-9)
    asked = method.extras.parts["regression"].setting.times
    assert asked.tolist() == list(method.sampler().times)
    kept = distiller("lcm", extra_losses={"adaptive_regression": {}})
    kept.loss("student", rows_of(kept), 0)
    fresh = distiller("lcm", extra_losses={"adaptive_regression": {}})
    fresh.load_state_dict(kept.state_dict())
    cache = [method.extras.parts["adaptive_regression"].cache for method in (kept, fresh)]
    assert torch.equal(cache[0].isnan(), cache[1].isnan())
    assert not cache[1].isnan().all()


def test_the_target_is_a_slot(runs: dict[str, RunDir]) -> None:
    assert first(runs["vcm-averaged"], "cd") == first(runs["lcm"], "cd")  # nothing has moved yet
    assert logged(runs["vcm-averaged"], "cd")[2] != logged(runs["lcm"], "cd")[2]  # decay 0.5 is not 0.95


# ---- supervised, samplers -------------------------------------------------------------------------------------------


def test_ltd_on_tqd(runs: dict[str, RunDir]) -> None:
    mse, loss, weight = logged(runs["tqd-ltd"], "mse", "loss", "weight")[0]
    assert 2 < weight < 2.02
    assert loss == pytest.approx(weight * mse, rel=1e-3)


def test_samplers_are_exchanged_without_training(runs: dict[str, RunDir]) -> None:
    nfe = {row: [t["nfe"] for t in runs[row].timings() if t["stage"] == "generate"] for row in runs}
    assert nfe["base-few"] == [2.0]
    assert nfe["dmd-two-calls"] == [2.0]
    assert nfe["dmd"] == [4.0]
    base = toy()
    noise = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cond = base.encode_text(["a", "b"])
    row = SamplerOptions(name="renoise", times=(1.0, 0.6), guidance=1.0, stochastic=False)
    sampler = chosen(services(guidance=4.0), row)
    assert torch.equal(sampler(base, noise, cond), Renoise((1.0, 0.6), stochastic=False)(base, noise, cond))
    guided = chosen(services(guidance=4.0), SamplerOptions(name="renoise", times=(1.0, 0.6)))
    assert isinstance(guided, FewSteps)
    assert (guided.nfe, guided.guidance, guided.stochastic) == (4, 4.0, True)


# ---- what means nothing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "problem", "remedy"),
    [
        (
            {"method": "dmd", "element_weight": "ltd"},
            "the matching loss has none",
            "regression",
        ),
        ({"method": "dmd", "rollout": "data", "element_weight": "ltd"}, "compares two scores", "adaptive_regression"),
        ({"method": "dmd", "time_law": "tqd_beta"}, "time_law: no real clip is noised", "rollout: data"),
        ({"method": "dmd+tr", "retention": "tqd"}, "retention: no real clip is noised", "rollout: data"),
        ({"method": "dmd", "score_law": "tqd_beta"}, "student's own samples, which have none", "time_law"),
        ({"method": "dmd", "sampler": {"name": "multistep"}}, "was never trained at", "renoise"),
        ({"method": "dmd", "sampler": {"times": [0.3]}}, "sampler.times must be some of times", ""),
        ({"method": "dmd", "rewards": ["shapes-reader"]}, "rewards are an extra loss here", "extra_losses: {rewards"),
        ({"method": "lcm", "gradient_terms": {"msm": {}}}, "this trainer compares no scores", "distribution matching"),
        ({"method": "lcm", "sampler": {"name": "multistep"}}, "asked on its solver's grid", "sample_steps"),
        ({"method": "t2v-turbo-v2", "time_law": "uniform"}, "guidance motion prepared its own", "leave one"),
        ({"method": "ltd", "gradient_terms": {"msm": {}}}, "none is compared here", "few-step row"),
        ({"method": "tqd", "extra_losses": {"temporal": {}}}, "a mean over all clips that fit", "few-step row"),
        ({"method": "base", "sampler": {"name": "renoise"}}, "renoise needs times", ""),
        ({"method": "base", "sampler": {"times": [1.0]}}, "multistep has no times", ""),
    ],
)
def test_combinations_without_a_meaning_are_refused(row: dict[str, Any], problem: str, remedy: str) -> None:
    whole = config.validate(suite.Suite, toy_suite(methods={"mine": row}), "")
    with pytest.raises(UserError) as error:
        resolve_rows(whole, ["mine"])
    assert error.value.problem.startswith("methods.mine")
    assert problem in error.value.problem
    assert remedy in error.value.remedy
