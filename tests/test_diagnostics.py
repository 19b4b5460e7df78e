"""Pictures of a training: the files that exist, the numbers on them, the same bytes for the same log."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from harness.diagnostics import STYLE, Picture, column, curves, draw, page, slugs, summary, thousands
from harness.stats import smooth


def rows(steps: int = 60) -> list[dict[str, Any]]:
    """A student updated every fifth step and a fake score updated every step; step 20 of the student was skipped."""
    random, log = np.random.default_rng(0), list[dict[str, Any]]()
    for step in range(steps):
        if step % 5 == 0:
            lost = step == 20
            row = {"step": step, "role": "student", "evals": 100 * step + 40, "loss": None if lost else 1 + step / 100}
            log.append(row | {"gnorm": 0.5} | ({"skipped": 1} if lost else {}))
        noise = float(random.uniform(0.9, 1.1))
        log.append({"step": step, "role": "fake", "evals": 100 * step + 100, "loss": noise * 0.9**step, "gnorm": 2.0})
    return log


def drawn(figure: Figure) -> list[tuple[Any, Any]]:
    """(x, y) of the trend lines, panel by panel."""
    lines = [line for ax in figure.axes for line in ax.get_lines() if line.get_linestyle() == "-"]
    return [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in lines]


def extra(title: str = "A finding", caption: str = "How to read <it>.") -> dict[str, Figure]:
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot([1, 2, 3])
    figure.set_label(caption)
    return {title: figure}


def test_the_page_shows_exactly_the_pictures_that_exist(tmp_path: Path) -> None:
    tmp_path.joinpath("old.png").write_bytes(b"of an earlier method")
    draw(tmp_path, "dmd & more, seed 0", rows(), extra())
    html = (tmp_path / "index.html").read_text()
    shown = re.findall(r'src="([^"]+)"', html)
    assert shown == ["training-curves.png", "a-finding.png"]
    assert re.findall(r'width="(\d+)"', html) == ["1160", "400"]
    assert {file.name for file in tmp_path.iterdir()} == {"index.html", *shown}
    assert html.count('alt="') == 2
    assert 'alt="A finding. How to read &lt;it&gt;."' in html
    assert "<figcaption>How to read &lt;it&gt;.</figcaption>" in html
    assert "<title>dmd &amp; more, seed 0</title>" in html
    assert "11 updates of the student, 60 updates of the fake; 1 skipped." in html
    assert "light dark" in html


def test_pictures_fit_a_screen_and_carry_their_caption(tmp_path: Path) -> None:
    draw(tmp_path, "t", rows(), extra())
    with Image.open(tmp_path / "training-curves.png") as image:
        assert image.size == (1450, 700)
        assert len(np.unique(np.asarray(image.convert("L")))) > 50  # something is drawn
    with Image.open(tmp_path / "a-finding.png") as image:
        assert image.info["Description"] == "How to read <it>."
        assert "Software" not in image.info


def test_equal_logs_give_equal_bytes_whatever_matplotlib_is_set_to(tmp_path: Path) -> None:
    draw(tmp_path / "a", "t", rows(), {})
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "savefig.dpi": 40}):
        draw(tmp_path / "b", "t", rows(), {})
    names = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert names == ["index.html", "training-curves.png"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_a_log_without_rows_gives_a_page_without_pictures(tmp_path: Path) -> None:
    draw(tmp_path, "base", [], {})
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]
    assert "Nothing was trained." in (tmp_path / "index.html").read_text()


def test_curves_show_each_role_over_its_own_steps_and_evaluations() -> None:
    log = rows()
    (figure,) = curves(log).values()
    student = [row for row in log if row["role"] == "student"]
    lines = drawn(figure)
    assert len(lines) == 6  # loss, gradient norm, loss by evaluations; twice
    steps, losses = lines[0]
    kept = [row for row in student if row["loss"] is not None]
    np.testing.assert_array_equal(steps, [row["step"] for row in kept])
    np.testing.assert_allclose(losses, smooth([row["loss"] for row in kept]))
    np.testing.assert_array_equal(lines[2][0], [row["evals"] for row in kept])
    assert [ax.get_yscale() for ax in figure.axes] == ["linear"] * 3 + ["log", "linear", "log"]  # 0.9^59 of 1
    (ticks,) = [line for line in figure.axes[0].get_lines() if line.get_marker() == "|"]
    np.testing.assert_array_equal(ticks.get_xdata(), [20])
    assert "1 updates skipped" in figure.get_label()
    assert len(figure.axes[3].get_lines()) == 2  # the fake score lost nothing
    assert figure.axes[0].get_title() == "Student: loss"


def test_a_curve_of_nothing_but_lost_steps_says_so() -> None:
    log = [{"step": s, "role": "student", "loss": None, "gnorm": None, "skipped": 1} for s in range(3)]
    (figure,) = curves(log).values()
    assert len(figure.axes) == 2  # no evaluations were counted
    assert [text.get_text() for text in figure.axes[0].texts] == ["no finite value"]


def test_the_trend_ignores_spikes_keeps_lines_and_ends_with_the_curve() -> None:
    flat = np.ones(100)
    flat[[10, 50, 51]] = 1e6
    np.testing.assert_array_equal(smooth(flat), np.ones(100))
    line = np.arange(200.0)
    np.testing.assert_allclose(smooth(line)[20:-20], line[20:-20])
    assert smooth([3.0]).tolist() == [3.0]
    long = np.sin(np.arange(20_000) / 3000)
    np.testing.assert_allclose(smooth(long)[1500:-1500], long[1500:-1500], atol=0.05)


def test_file_names_are_plain_and_never_clash() -> None:
    assert slugs(["Loss & norm", "loss, norm", "Ω", "Été 2"]) == [
        *("loss-norm.png", "loss-norm-2.png", "picture.png", "t-2.png"),
    ]


@pytest.mark.parametrize(("x", "text"), [(0, "0"), (800, "800"), (2500, "2.5k"), (17500, "17.5k"), (3e6, "3M")])
def test_tick_labels(x: float, text: str) -> None:
    assert thousands(x) == text


def test_columns_and_summary_of_rows_that_name_no_role() -> None:
    log = [{"step": 0, "loss": 1.0}, {"step": 1, "loss": None, "skipped": 1}]
    np.testing.assert_array_equal(column(log, "loss"), [1.0, np.nan])
    assert summary(log) == "1 updates of the student; 1 skipped."
    assert '<img src="a.png" width="960" alt="A">' in page("t", "s", [Picture("a.png", "A", "", 960)])


def test_colours_are_told_apart_by_everyone() -> None:
    """Okabe and Ito's, all at least 3:1 against white but the last two that pictures never start with."""
    from matplotlib.style import context

    with context(STYLE):
        cycle = [entry["color"] for entry in matplotlib.rcParams["axes.prop_cycle"]]
    assert [f"#{colour.removeprefix('#')}" for colour in cycle[:3]] == ["#0072B2", "#D55E00", "#009E73"]
    assert len(set(cycle)) == 7
