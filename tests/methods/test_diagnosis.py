"""What the methods' pictures show, in numbers: densities, correlations, gains, gates, energies."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy import stats

from harness.diagnostics import draw
from methods import diagnosis
from methods.avd import diagnostics as avd
from methods.avd.equations import threshold_variance
from methods.consistency import diagnostics as consistency
from methods.dmd import diagnostics as dmd
from methods.ltd import diagnostics as ltd
from methods.ltd.equations import latent_difference, windowed_mean
from methods.tqd import diagnostics as tqd
from tests.methods.common import batch, method, services
from tests.methods.matching import clips, matching, train

LAW = tqd.Law(k_base=4, k_max=30, floor=1e-3, t_min=1e-3, t_max=0.999)
CENTRES = (np.arange(tqd.BINS) + 0.5) / tqd.BINS


def line(figure: Figure, panel: int, label: str) -> tuple[Any, Any]:
    """(x, y) of the line called `label`."""
    (found,) = [one for one in figure.axes[panel].get_lines() if one.get_label() == label]
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


# ---- shared -----------------------------------------------------------------------------------------------------


def test_pearson_is_numpys() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 50))
    assert diagnosis.pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
    assert diagnosis.pearson(np.append(x, np.nan), np.append(y, 5.0)) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert math.isnan(diagnosis.pearson(np.ones(3), x[:3]))
    assert math.isnan(diagnosis.pearson(np.array([np.nan]), np.array([1.0])))


def test_columns_are_of_one_role_and_finite() -> None:
    log = [{"step": 0, "a": 1.0}, {"step": 1, "role": "fake", "a": 2.0}, {"step": 2, "a": None}, {"step": 5, "a": 3}]
    steps, values = diagnosis.column(log, "a")
    assert (steps.tolist(), values.tolist()) == ([0, 5], [1, 3])
    assert diagnosis.logged(log, "a")
    assert not diagnosis.logged(log, "a", "b")
    assert not diagnosis.logged(log, "a", role="teacher")


def test_a_log_scale_is_taken_when_the_trend_spans_a_factor_of_twenty() -> None:
    for last, scale in ((0.06, "linear"), (0.04, "log")):
        _, (ax,) = diagnosis.panels(1, 1, "t", "c")
        diagnosis.trace(ax, [{"step": s, "a": last ** (s / 400)} for s in range(401)], "a")
        assert ax.get_yscale() == scale, last


def test_the_house_style_holds_inside_and_leaves_no_trace() -> None:
    before = matplotlib.rcParams["axes.titlelocation"]
    inside = diagnosis.house(lambda: matplotlib.rcParams["axes.titlelocation"])()
    assert (inside, matplotlib.rcParams["axes.titlelocation"]) == ("left", before)


# ---- TQD --------------------------------------------------------------------------------------------------------


def test_densities_integrate_to_one_and_have_the_laws_means() -> None:
    m, q = np.array([0.8, 0.6, 0.25, 1.0, 0.0]), np.array([0.2, 0.6, 0.75, 0.0, 1.0])
    density = tqd.bin_density(tqd.beta_cdf(m, q, LAW))
    np.testing.assert_allclose(density.mean(1), 1, atol=1e-12)
    np.testing.assert_allclose((density * CENTRES).mean(1)[:3], [0.8, 0.5, 0.25], atol=2e-4)
    np.testing.assert_allclose(density[0], stats.beta(15.68, 3.92).pdf(CENTRES), rtol=0.02, atol=1e-3)  # O-TQD1
    assert density[3, -1] == pytest.approx(tqd.BINS, rel=0.01)  # mu = 1: nearly all of it at the end
    assert density[4, 0] == pytest.approx(tqd.BINS, rel=0.01)


def test_a_shift_moves_the_density_as_it_moves_the_times() -> None:
    shifted = tqd.Law(4, 30, 1e-3, 1e-3, 0.999, shift=5.0)
    u = stats.beta(2, 2).rvs(200_000, random_state=0)
    share = np.histogram(5 * u / (1 + 4 * u), bins=tqd.BINS, range=(0, 1))[0] / len(u)
    half = np.array([0.5])
    np.testing.assert_allclose(tqd.bin_density(tqd.beta_cdf(half, half, shifted))[0] / tqd.BINS, share, atol=1.5e-3)


def test_logit_normal_is_scipys_and_is_clamped() -> None:
    cdf = tqd.logit_normal_cdf(0.5, 2.0, 0.1, 0.9)
    edges = np.linspace(0, 1, tqd.BINS + 1)
    inner = (edges >= 0.1) & (edges < 0.9)
    expected = stats.norm(0.5, 2).cdf(np.log(edges[inner] / (1 - edges[inner])))
    np.testing.assert_allclose(cdf[inner], expected, atol=1e-12)
    assert cdf[edges < 0.1].max() == 0
    assert cdf[edges >= 0.9].min() == 1


def test_the_mixture_weighs_clips_by_how_often_they_are_kept() -> None:
    m, q, keep = np.array([0.8, 0.25, 0.5]), np.array([0.2, 0.75, 0.5]), np.array([0.9, 0.3, 0.0])
    whole = tqd.mixture(m, q, keep, LAW)
    assert whole.mean() == pytest.approx(1)
    assert (whole * CENTRES).mean() == pytest.approx((0.9 * 0.8 + 0.3 * 0.25) / 1.2, abs=2e-4)


def test_the_split_lies_between_two_modes_and_in_the_middle_of_one() -> None:
    assert 0.2 < tqd.split(np.array([0.0, 0.1, 0.2, 0.8, 0.9])) < 0.8
    assert tqd.split(np.linspace(0, 1, 101)) == pytest.approx(0.5, abs=0.01)
    assert tqd.split(np.full(4, 0.3)) == 0.3
    assert tqd.split(np.array([0.7])) == 0.7


def test_quality_pictures_of_the_methods_that_read_quality() -> None:
    given = services()
    log = [{"step": s, "role": "student", "t": 0.25} for s in range(3)]
    figures = method("tqd", given).diagnostics(log, batch([0], given))
    assert list(figures) == ["Quality plane", "Time densities"]
    r = np.corrcoef(given.scores["mq"], given.scores["vq"])[0, 1]
    plane, times = figures.values()
    assert f"r = {r:+.3f}" in plane.get_suptitle()
    points = plane.axes[0].collections[0]
    np.testing.assert_allclose(points.get_offsets()[:, 0], given.scores["mq"])
    np.testing.assert_allclose(points.get_array(), np.maximum(given.scores["mq"], given.scores["vq"]))
    _, density = line(times, 1, "all clips, as kept")
    assert density.mean() == pytest.approx(1)
    assert "steps taken had mean 0.250" in times.get_label()
    assert list(method("data-filter", given).diagnostics(log, batch([0], given))) == ["Quality plane"]
    assert method("supervised-uniform", given).diagnostics(log, batch([0], given)) == {}
    assert method("tqd", given, time_law="uniform", retention="none").diagnostics(log, batch([0], given)) == {}


def test_clips_without_a_score_are_left_out_of_the_plane() -> None:
    given = services(mq=(0.0, 1.0, 0.5, math.nan), vq=(1.0, 0.0, 0.5, 0.3))
    plane = method("tqd", given).diagnostics([], batch([0], given))["Quality plane"]
    assert plane.get_suptitle() == "Motion and visual quality of 3 clips: r = -1.000"


# ---- LTD --------------------------------------------------------------------------------------------------------


def test_ltd_measures_the_discrepancy_and_the_networks_error() -> None:
    model, probe = method("ltd"), batch([0, 1, 2, 3])
    found = ltd.measure(model.student, probe, tau=3)
    expected = windowed_mean(latent_difference(probe.latent), 3).numpy()
    np.testing.assert_allclose(found.discrepancy, expected)
    assert found.error.shape == (4, 4, 2, 2)
    motion = expected.mean((1, 2, 3))
    assert found.shown == (int(motion.argmin()), int(motion.argmax()))
    assert found.video.shape == (2, 4, 16, 16, 3)
    np.testing.assert_array_equal(ltd.measure(model.student, probe, tau=3).error, found.error)  # no randomness left

    t = torch.full((4,), 0.5, dtype=torch.float64)
    eps = torch.randn(probe.latent.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    noisy = 0.5 * probe.latent + 0.5 * eps
    flow = model.student.predict(noisy, t, probe.cond, "flow")
    error = (flow - (eps - probe.latent)).square().mean(1)
    np.testing.assert_allclose(ltd.native_error(model.student, probe.latent, eps, 0.5, probe.cond), error.detach())


def test_ltd_leaves_the_network_as_it_was_and_titles_say_the_correlation() -> None:
    model, probe = method("ltd"), batch([0, 1, 2, 3])
    before = [p.clone() for p in model.student.net.parameters()]
    model.student.net.train()
    figures = model.diagnostics([], probe)
    assert model.student.net.training
    assert all(torch.equal(old, new) for old, new in zip(before, model.student.net.parameters(), strict=True))
    assert list(figures) == ["Discrepancy map", "Loss and discrepancy by frame"]
    found = ltd.measure(model.student, probe, 3)
    x, y = found.discrepancy.mean((2, 3)).ravel(), found.error.mean((2, 3)).ravel()
    assert figures["Loss and discrepancy by frame"].get_suptitle().endswith(f"r = {np.corrcoef(x, y)[0, 1]:+.2f}")
    assert method("ltd", element_weight="none").diagnostics([], probe) == {}


def test_frames_lie_side_by_side_with_gaps() -> None:
    frames = np.arange(2 * 2 * 3, dtype=float).reshape(2, 2, 3)
    strip = ltd.montage(frames)
    fine = 96
    assert strip.shape == (2 * fine, (3 + 3) * fine + 3 * fine // 24)
    assert (strip[0, 0], strip[-1, -1]) == (0, 11)
    assert np.isnan(strip[:, 3 * fine]).all()


# ---- distribution matching ---------------------------------------------------------------------------------------


def spectra(frames: int = 5, gains: Any = None, updates: int = 30) -> list[dict[str, Any]]:
    """Student rows whose DMD gradient is (k + 1)(update + 1), and what a term with these gains adds."""
    log = []
    for update in range(updates):
        sizes = {k: float((k + 1) * (update + 1)) for k in range(frames)}
        row = {"step": 5 * update, "role": "student", "kl": 0.5, "g_abs": 0.7, "norm": 0.4, "loss": 0.5}
        row |= {f"dmd_f{k}": size for k, size in sizes.items()}
        if gains is not None:
            row |= {f"msm_f{k}": size * (gains[k] - 1) for k, size in sizes.items()}
        row |= {f"total_f{k}": size * (1 if gains is None else gains[k]) for k, size in sizes.items()}
        log += [row, {"step": 5 * update, "role": "fake", "loss": 0.3}]
    return log


def test_the_gain_curve_of_a_synthetic_log_is_the_theorys() -> None:
    theory = [1 + 1.25 * (2 - 2 * math.cos(math.pi * k / 5)) for k in range(5)]
    log = spectra(gains=theory)
    assert dmd.terms(log) == ["msm"]
    np.testing.assert_allclose(dmd.gain(log), np.tile(theory, (30, 1)))
    figure = dmd.figures(log, theory)["Gradient by temporal frequency"]
    _, measured = line(figure, 2, "measured")
    np.testing.assert_allclose(measured, theory)
    np.testing.assert_allclose(line(figure, 2, "theory")[1], theory)
    np.testing.assert_allclose(line(figure, 1, "DMD")[1], 15.5 * np.arange(1, 6))  # medians over updates 1 .. 30
    assert figure.get_suptitle().startswith(f"{1 / 55:.0%} of")  # 1 / (1 + 4 + 9 + 16 + 25)
    assert dmd.still_share(dmd.spectrum(log, "dmd")) == pytest.approx(1 / 55)


def test_plain_matching_has_no_gain_to_show() -> None:
    figures = dmd.figures(spectra())
    assert list(figures) == ["Gradient by temporal frequency", "Scores and losses"]
    assert [len(figure.axes) for figure in figures.values()] == [2, 3]
    assert dmd.figures([]) == {}
    assert np.isnan(dmd.gain([{"step": 0, "dmd_f0": 0.0, "total_f0": 0.0}])).all()


@pytest.mark.parametrize("reduction", ["mean", "numel"])
def test_motion_score_matching_multiplies_frequencies_as_its_theory_says(reduction: str) -> None:
    """From a real student turn: the spectra it logs, the gain on the picture, 1 + lambda r (2 - 2 cos(pi k / F))."""
    model = matching("msm", gradient_terms={"msm": {"lambda_": 0.5, "reduction": reduction}}, ratio=1)
    log = train(model, 4)
    scale = 4 / 3 if reduction == "mean" else 1
    theory = [1 + 0.5 * scale * (2 - 2 * math.cos(math.pi * k / 4)) for k in range(4)]
    np.testing.assert_allclose(dmd.gain(log), np.tile(theory, (4, 1)), rtol=1e-9)
    np.testing.assert_allclose(model.expected_gain(4), theory, rtol=1e-12)
    figure = model.diagnostics(log, clips("probe"))["Gradient by temporal frequency"]
    np.testing.assert_allclose(line(figure, 2, "measured")[1], line(figure, 2, "theory")[1], rtol=1e-9)


@pytest.mark.parametrize("option", [{"adjoint": "next"}, {"norm": "motion"}])
def test_no_theory_is_drawn_where_there_is_none(option: dict[str, Any]) -> None:
    model = matching("msm", gradient_terms={"msm": option}, ratio=1)
    assert model.expected_gain(4) is None
    figure = model.diagnostics(train(model, 2), clips("probe"))["Gradient by temporal frequency"]
    assert "theory" not in [one.get_label() for one in figure.axes[2].get_lines()]
    assert matching("dmd").expected_gain(4) is None


# ---- AVD --------------------------------------------------------------------------------------------------------


def test_the_gate_shades_the_updates_in_which_it_was_closed() -> None:
    log = [{"step": 5 * i, "gate": gate} for i, gate in enumerate([1.0, 0.0, 0.0, 1.0, 0.5, 0.0])]
    assert avd.closed(log) == [(5, 15), (25, 30)]
    assert avd.closed([{"step": 3, "gate": 0.0}]) == [(3, 4)]
    assert avd.closed([]) == []


def test_avd_draws_the_terms_it_has() -> None:
    names = {
        "dmd+tr": ["Temporal regularisation"],
        "dmd+tr+reg": ["Temporal regularisation", "Regression"],
        "avd": ["Temporal regularisation", "Regression"],
    }
    for name, expected in names.items():
        settings = {"extra_losses": {"temporal": {"threshold": 0.6}}}
        model = matching(name, ratio=1, **settings)
        log = train(model, 5)
        figures = model.diagnostics(log, clips("probe"))
        assert list(figures)[2:] == expected, name
        left, middle, right = figures["Temporal regularisation"].axes
        thresholds = [
            one.get_ydata()[0] for ax in (left, middle) for one in ax.get_lines() if one.get_linestyle() == "--"
        ]
        assert thresholds == pytest.approx([0.6, threshold_variance(0.6)])
        band = right.patches[0].get_window_extent().transformed(right.transData.inverted())
        assert (band.y0, band.y1) == (pytest.approx(5), pytest.approx(20))
    labels = [one.get_label() for one in figures["Regression"].axes[0].get_lines()]
    assert labels[0] == "L_reg"
    assert set(labels[1:]) <= {f"average at t = {t:g}" for t in model.config.times}
    last = {k: v for row in log for k, v in row.items() if k.startswith("cache_")}
    for k, value in last.items():
        t = model.config.times[int(k.removeprefix("cache_"))]
        assert line(figures["Regression"], 0, f"average at t = {t:g}")[1][-1] == value


def test_avd_says_how_often_the_term_was_on() -> None:
    rows = [
        {"step": i, "temp": 1.0, "variance": 0.5, "threshold": 0.9, "gate": float(i < 3), "temp_ratio": 0.1}
        for i in range(4)
    ]
    (figure,) = avd.figures(rows, (1.0,)).values()
    assert figure.get_suptitle() == "The temporal term was on in 75% of the student's updates"
    assert avd.figures([], (1.0,)) == {}


# ---- consistency ------------------------------------------------------------------------------------------------


def guided(steps: int = 12) -> list[dict[str, Any]]:
    log = []
    for step in range(steps):
        row = {"step": step, "role": "student", "loss": 0.1, "cd": 0.2, "reward_a": 0.3, "reward_b_c": 1.0}
        row |= {"reward_skipped": float(step == 3)}
        log.append(row | ({"energy_before": 2.0, "energy_after": 1.5 if step < 9 else 2.5} if step % 2 == 0 else {}))
    return log


def test_energies_before_and_after_are_paired_and_counted() -> None:
    log = guided()
    before, after = consistency.paired(log)
    assert (before.tolist(), after.tolist()) == ([2.0] * 6, [1.5] * 5 + [2.5])
    np.testing.assert_allclose(consistency.change(before, after), [-0.25] * 5 + [0.25])
    figure = consistency.figures(log)["Motion guidance"]
    assert figure.get_suptitle() == "Motion guidance lowered the energy of 83% of 6 updates"
    assert sum(bar.get_height() for bar in figure.axes[1].patches) == 6
    x, y = line(figure, 0, "updates")
    np.testing.assert_array_equal((x, y), (before, after))


def test_single_clips_are_counted_when_there_are_more_of_them() -> None:
    before, after = np.array([1.0, 2.0, 0.0, 4.0]), np.array([0.5, 1.0, 0.0, 5.0])
    figure = consistency.figures([], before, after)["Motion guidance"]
    assert figure.get_suptitle() == "Motion guidance lowered the energy of 67% of 3 clips"  # one has no motion


def test_rewards_have_a_panel_each() -> None:
    log = guided()
    assert consistency.rewards(log) == ["a", "b_c"]
    figure = consistency.figures(log)["Distillation"]
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["Distillation loss L_CD", "Reward: a", "Reward: b c"]
    assert "1 reward values were not finite" in figure.get_label()
    assert consistency.figures([]) == {}


# ---- all of them ------------------------------------------------------------------------------------------------


def test_every_picture_is_drawn_twice_to_the_same_bytes(tmp_path: Path) -> None:
    model = matching("avd", ratio=1, extra_losses={"temporal": {"threshold": 0.6}})
    log = train(model, 5)
    given = services()
    for folder in ("a", "b"):
        pictures = {
            **model.diagnostics(log, clips("probe")),
            **method("tqd", given).diagnostics([], batch([0], given)),
            **method("ltd", given).diagnostics([], batch([0, 1], given)),
            **consistency.figures(guided()),
        }
        draw(tmp_path / folder, "t", log, pictures)
    files = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert len(files) == 12
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert all(figure.get_label() and figure.get_suptitle() for figure in pictures.values())
