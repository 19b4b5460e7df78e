"""TQD: oracles O-TQD1 .. O-TQD6, its guards, and what it degenerates to."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from harness import registry
from harness.api import ClipSpec, Services, UserError, make_part
from harness.config import validate
from methods.supervised.parts import TimeLaw
from methods.tqd.equations import (
    beta_mean,
    beta_parameters,
    beta_quantile,
    concentration,
    keep_probability,
    normalise,
)
from tests.methods.common import batch, method, options, services
from tests.toys import ToyBackbone, ToyOptions

WAN, COG = (4.0, 30.0), (2.0, 20.0)  # k_base, k_max


def one(*values: float) -> Any:
    return (np.array([value]) for value in values)


def law(given: Services, **settings: Any) -> TimeLaw:
    return make_part("time_law", {"name": "tqd_beta", **settings}, given)


def variance(a: Any, b: Any) -> Any:
    return a * b / ((a + b) ** 2 * (a + b + 1))


@pytest.mark.parametrize(
    ("m", "q", "k", "expected"),
    [  # p, mu, kappa, a, b, variance
        (0.8, 0.2, WAN, (0.8, 0.8, 19.6, 15.68, 3.92, 0.00776699029126)),  # O-TQD1
        (0.8, 0.2, COG, (0.8, 0.8, 12.8, 10.24, 2.56, 0.0115942028986)),
        (0.6, 0.6, WAN, (0.6, 0.5, 4.0, 2.0, 2.0, 0.05)),  # O-TQD2
        (0.6, 0.6, COG, (0.6, 0.5, 2.0, 1.0, 1.0, 1 / 12)),
        (0.25, 0.75, WAN, (0.75, 0.25, 17.0, 4.25, 12.75, 0.0104166666667)),  # O-TQD3
    ],
)
def test_equations(m: float, q: float, k: tuple[float, float], expected: tuple[float, ...]) -> None:
    m_, q_ = one(m, q)
    a, b = beta_parameters(m_, q_, *k)
    found = [keep_probability(m_, q_), beta_mean(m_, q_), concentration(m_, q_, *k), a, b, variance(a, b)]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=0, atol=1e-12)


def test_most_of_a_moving_clip_is_trained_at_high_noise() -> None:  # O-TQD1, P(t > 0.5)
    a, b = beta_parameters(*one(0.8, 0.2), *WAN)
    assert beta_quantile(np.array([1 - 0.9975912012]), a, b)[0] == pytest.approx(0.5, abs=1e-8)


def test_normalise() -> None:  # O-TQD4
    np.testing.assert_allclose(normalise(np.array([2.0, 2.5, 3.5])), [0, 1 / 3, 1], rtol=0, atol=1e-15)
    np.testing.assert_allclose(normalise(np.array([2.5, np.nan]), (2.0, 3.5)), [1 / 3, np.nan])


def test_a_constant_column_is_one_half_and_warned_about(caplog: pytest.LogCaptureFixture) -> None:  # O-TQD4
    with caplog.at_level(logging.WARNING):
        assert normalise(np.array([2.0, 2.0, np.nan])).tolist()[:2] == [0.5, 0.5]
    assert "constant" in caplog.text


def test_an_empty_column_is_an_error() -> None:
    with pytest.raises(UserError, match="holds no number"):
        normalise(np.array([np.nan, np.inf]))


@pytest.mark.parametrize("floor", [1e-3, 1.0])
def test_one_sided_clips_get_the_floor_and_finite_times(floor: float) -> None:
    m, q = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    a, b = beta_parameters(m, q, *WAN, floor)
    np.testing.assert_allclose([*a, *b], [30.0, floor, floor, 30.0])
    given = services(m, q)
    u = torch.linspace(0, 1 - 1e-9, 1001, dtype=torch.float64)
    for row, mean in ((0, 30 / (30 + floor)), (1, floor / (30 + floor))):
        t = law(given, floor=floor)(u, batch([row] * len(u), given))
        assert torch.isfinite(t).all()
        assert 1e-3 <= t.min() <= t.max() <= 0.999
        assert t.mean().item() == pytest.approx(mean, abs=2e-3)


def test_the_law_has_its_mean_variance_and_distribution() -> None:
    given = services([0.8, 0.0, 1.0], [0.2, 0.0, 1.0])
    u = torch.rand(20_000, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    t = law(given)(u, batch([0] * len(u), given))
    sigma = 0.00776699029126**0.5
    assert t.mean().item() == pytest.approx(0.8, abs=4 * sigma / len(u) ** 0.5)
    assert t.var().item() == pytest.approx(sigma**2, rel=0.05)
    assert kstest(t.numpy(), "beta", args=(15.68, 3.92)).pvalue > 1e-4


def test_balanced_scores_with_k_base_2_are_uniform_time() -> None:
    given = services([0.0, 0.4, 1.0], [0.0, 0.4, 1.0])
    u = torch.rand(300, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    rows = batch(np.arange(300) % 3, given)
    found, uniform = law(given, k_base=2)(u, rows), make_part("time_law", {"name": "uniform"}, given)(u, rows)
    torch.testing.assert_close(found, uniform, rtol=0, atol=1e-12)


def test_balanced_tqd_is_plain_uniform_training() -> None:
    """The whole method: every score 1 keeps every clip, k_base 2 is uniform time."""
    given = services([1.0] * 6, [1.0] * 6)
    settings = {"norm": "global", "motion_range": [0, 1], "visual_range": [0, 1]}
    tqd = method("tqd", given, time_law={"k_base": 2, **settings}, retention=settings)
    plain = method("supervised-uniform", given)
    for seed in range(3):
        rows = [m.draw(np.random.default_rng(seed), 8) for m in (tqd, plain)]
        assert rows[0].tolist() == rows[1].tolist()
        losses = [m.loss("student", batch(rows[0], given, seed=seed), 0)[0].item() for m in (tqd, plain)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-10)


def test_the_shift_is_off_and_can_be_put_on() -> None:
    given = services([0.0, 0.4, 1.0], [0.0, 0.4, 1.0], shift=3.0)
    u, rows = torch.tensor([0.5], dtype=torch.float64), batch([1], given)
    assert law(given)(u, rows).item() == pytest.approx(0.5)
    assert law(given, apply_shift=True)(u, rows).item() == pytest.approx(0.75)
    with pytest.raises(UserError, match=r"generate\.shift"):
        law(services(), apply_shift=True)


@pytest.mark.parametrize("mode", ["reject", "weighted"])
def test_the_accepted_marginal(mode: str) -> None:  # O-TQD5, both modes
    given = services([0.2, 0.5, 1.0], [0.0, 0.1, 1.0])
    ranges = {"norm": "global", "motion_range": [0, 1], "visual_range": [0, 1]}
    tqd = method("data-filter", given, retention={"mode": mode, **ranges})
    n, expected = 60_000, np.array([0.1176470588, 0.2941176471, 0.5882352941])
    counts = np.bincount(tqd.draw(np.random.default_rng(5), n), minlength=3)
    assert (np.abs(counts / n - expected) < 4 * np.sqrt(expected * (1 - expected) / n)).all()


def test_clips_with_no_merit_or_no_score_are_never_drawn() -> None:
    given = services([0.0, 0.5, np.nan, 1.0, 0.7], [0.0, 1.0, 0.9, 0.2, np.nan])
    for name, settings in (("tqd", {}), ("tqd", {"retention": {"mode": "weighted"}}), ("data-filter", {})):
        drawn = method(name, given, **settings).draw(np.random.default_rng(0), 500)
        assert set(drawn.tolist()) == {1, 3}
    alone = method("tqd", given, retention={"name": "none"})  # the time law alone still cannot train an unscored clip
    assert set(alone.draw(np.random.default_rng(0), 500).tolist()) == {0, 1, 3}


def test_one_score_is_not_enough_to_be_kept() -> None:
    nan = float("nan")
    assert keep_probability(np.array([0.9, nan, nan]), np.array([nan, 0.9, nan])).tolist() == [0, 0, 0]


def test_an_unscored_clip_does_not_decide_the_range() -> None:
    given = services([0.0, 0.5, 1.0, 9.0], [0.0, 0.5, 1.0, np.nan])
    quality = law(given).quality  # type: ignore[attr-defined]
    assert quality.motion == (0.0, 1.0)


def test_nothing_left_to_draw_is_an_error() -> None:
    with pytest.raises(UserError, match="no row of the training set"):
        method(
            "data-filter",
            services([0.0, 0.0], [0.0, 0.0]),
            retention={"norm": "global", "motion_range": [0, 1], "visual_range": [0, 1]},
        )


def test_a_score_outside_the_global_range_is_an_error() -> None:
    with pytest.raises(UserError, match="outside its range"):
        law(services(), norm="global", motion_range=[0, 0.5], visual_range=[0, 1])
    with pytest.raises(UserError, match="needs motion_range"):
        options("tqd", time_law={"norm": "global"})
    with pytest.raises(UserError, match="norm: global"):
        options("tqd", retention={"motion_range": [0, 1]})


def test_a_missing_column_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(UserError, match="no score column") as error:
        law(services(), motion="motion_quality")
    assert "mq, vq" in error.value.remedy


def test_the_columns_asked_for_are_the_columns_read() -> None:
    cls = type(method("tqd"))
    assert cls.needs(options("tqd")).scores == ("mq", "vq")
    assert cls.needs(options("tqd", time_law={"motion": "smoothness"})).scores == ("smoothness", "vq", "mq")
    assert cls.needs(options("tqd", time_law={"name": "uniform"}, retention={"name": "none"})).scores == ()


class Spy:
    """A schedule that remembers at which sigma latents were noised."""

    def __init__(self, schedule: Any) -> None:
        self.schedule, self.sigmas = schedule, torch.empty(0, dtype=torch.float64)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.schedule, name)

    def add_noise(self, x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        x = self.schedule.add_noise(x0, eps, t)
        self.sigmas = torch.cat([self.sigmas, (x / eps).flatten(1)[:, 0]])  # x0 is 0: what multiplies eps
        return x


def noised_at(student: Any, shape: tuple[int, ...], draws: int) -> torch.Tensor:
    """Sigmas of TQD training steps on zero latents whose clip has mq = 0.8, vq = 0.2."""
    given = services([0.8, 0.0, 1.0], [0.2, 0.0, 1.0])
    student.schedule = Spy(student.schedule)
    tqd = method("tqd", given, student, p_drop=0)
    size = min(draws, 2000)
    zeros, cond = torch.zeros(size, *shape), student.encode_text(["red square"]).expand(size, -1, -1)
    with torch.no_grad():
        for seed in range(draws // size):
            data = batch([0] * size, given, zeros, seed=seed)
            data.cond = cond
            tqd.loss("student", data, 0)
    return student.schedule.sigmas


def test_the_direction_of_time() -> None:  # O-TQD6: a descending table gives 0.20
    sigmas = noised_at(ToyBackbone(ToyOptions(hidden=1), torch.device("cpu")), (3, 1, 1, 1), 20_000)
    assert len(sigmas) == 20_000
    assert sigmas.mean().item() == pytest.approx(0.80, abs=0.003)


def test_the_direction_of_time_on_a_variance_preserving_schedule() -> None:
    student = ToyBackbone(ToyOptions(family="v", hidden=1), torch.device("cpu"))
    schedule = student.schedule
    sigmas = noised_at(student, (3, 1, 1, 1), 20_000)
    t = beta_quantile((np.arange(10_000) + 0.5) / 10_000, np.array(15.68), np.array(3.92))
    expected = schedule.sigma(torch.from_numpy(t)).mean().item()
    assert sigmas.mean().item() == pytest.approx(expected, abs=0.003)
    assert expected > 0.95


@pytest.fixture(scope="module")
def wan() -> Any:
    """The adapter of Wan pipelines, on the small one that ships."""
    cls = registry.backbones.get("wan")
    return cls.load(validate(cls.Config, {"path": "embedded"}, "backbone"), torch.device("cpu"))


def test_the_direction_of_time_on_wan(wan: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # O-TQD6
    student = wan.clone(trainable=False)
    monkeypatch.setattr(student, "predict", lambda x, t, cond, want: torch.zeros_like(x))
    sigmas = noised_at(student, (student.latent_shape(ClipSpec())[0], 1, 1, 1), 20_000)
    assert sigmas.mean().item() == pytest.approx(0.80, abs=0.003)


def test_wan_is_told_the_noise_it_was_given(wan: Any) -> None:
    """The network's own timestep is 1000 sigma, clip by clip."""
    student, told = wan.clone(trainable=False), []

    def listen(module: Any, args: Any, kwargs: Any) -> None:
        told.append(kwargs["timestep"] if "timestep" in kwargs else args[1])

    student.net.register_forward_pre_hook(listen, with_kwargs=True)
    sigmas = noised_at(student, student.latent_shape(ClipSpec()), 6)
    torch.testing.assert_close(told[0].double() / 1000, sigmas, rtol=1e-4, atol=1e-4)
    assert sigmas.mean() > 0.6
