"""The site as someone sees it, opened from disk: sorted, searched, explained, by mouse and keyboard, light and dark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import stats
from leaderboards.rank import Contest, Leaderboard, table
from leaderboards.site import write_site
from leaderboards.site.shell import prompt_link, row_link
from tests.leaderboards.browser import Browser
from tests.leaderboards.conftest import HOSTILE, PROMPTS, TEXTS
from tests.leaderboards.runs import M, write_cell, write_suite

ROWS = "[...document.querySelectorAll('#board tbody tr:not(.divider)')].filter(row => row.checkVisibility())"
NAMES = f"{ROWS}.map(row => row.cells[0].dataset.value)"
HEAD = "#board thead tr:nth-child(2) th:nth-child({}) button"


def plays(page: Browser, count: int) -> None:
    """So many clips, moving on, none of them broken."""
    page.wait(f"document.querySelectorAll('video').length === {count}")
    page.wait("videosOf(document)[0].readyState >= 2")
    before = page.run("videosOf(document)[0].currentTime")
    page.wait(f"videosOf(document)[0].currentTime !== {before}")
    assert page.run("videosOf(document).every(v => v.error === null)")


def clean(page: Browser) -> None:
    assert page.errors() == []
    assert page.requests() == []
    assert page.run("typeof hacked") == "undefined"
    assert page.run("document.querySelectorAll('img').length") == 0


def test_sorting_and_finding(page: Browser, site: Path, tiny: Leaderboard, keep: Callable[[str], None]) -> None:
    page.open(site.as_uri())
    keep("site-light")
    means = {e.label: [tiny.values[e.label, c.key].estimate.mean for c in tiny.columns] for e in tiny.entries}
    ranked = [label for label in means if label != HOSTILE]
    assert page.run(NAMES)[-1] == HOSTILE  # partial: apart, below
    for column, sign in ((0, -1), (1, 1), (2, -1)):  # best first, whichever way is better
        page.click(HEAD.format(column + 2))
        found = page.run(NAMES)
        assert [means[label][column] for label in found[:4]] == sorted(
            (means[r][column] for r in ranked), key=lambda v: sign * v
        )
        assert found[-1] == HOSTILE
        page.click(HEAD.format(column + 2))
        assert page.run(NAMES)[:4] != found[:4]
    page.click(HEAD.format(1))
    assert page.run(NAMES)[:4] == sorted(ranked)
    assert page.run("[...document.querySelectorAll('[aria-sort]:not([aria-sort=none])')].length") == 1
    page.click("#find")
    page.type("tw")
    assert page.run(NAMES) == ["twin"]
    assert page.run("byId('count').textContent") == "1 row"
    page.run("(byId('find').value = '', filterRows())")
    page.click(".hide[data-kind=partial]")
    assert sorted(page.run(NAMES)) == sorted(ranked)
    clean(page)


def test_the_keyboard_is_enough(page: Browser, site: Path) -> None:
    """From the top of the page to a sorted table, an explanation, a plot of another metric and a row's page."""
    page.open(site.as_uri())
    page.press("Tab")
    assert page.run("document.activeElement.id") == "find"
    for _ in range(3):  # past the filter of partial rows and the names
        page.press("Tab")
    page.press("Tab")
    assert page.run("document.activeElement.textContent") == "down\u00a0↓"
    assert "lower is better" in page.run("byId('tip').textContent")
    assert page.run("byId('tip').checkVisibility()")
    page.press("Enter")
    assert page.run("document.activeElement.parentElement.getAttribute('aria-sort')") == "ascending"
    page.press("Escape")
    assert not page.run("byId('tip').checkVisibility()")
    page.run("byId('metric').focus()")
    page.press("ArrowDown")
    page.wait("document.querySelector('#pareto > div:not([hidden]) svg[aria-label^=\"toy/down\"]')")
    page.run("document.querySelector('#board tbody a').focus()")
    page.press("Enter")
    page.wait("document.querySelectorAll('video').length > 0 && document.readyState === 'complete'")
    page.press("ArrowRight")
    page.wait("!playing")
    page.press("l")
    assert page.run("byId('loop').checked") is False
    clean(page)


def test_hovering_explains(page: Browser, site: Path) -> None:
    page.open(site.as_uri())
    page.hover(HEAD.format(2))
    page.wait("byId('tip').textContent.includes('How far up <it> goes.')")
    assert "Long story" not in page.run("byId('tip').textContent")
    assert "evaluator ffffffff" in page.run("byId('tip').textContent")
    page.hover("#board tbody tr td:nth-child(2)")
    page.wait("/^[0-9.]+ to [0-9.]+; 12 scores of 12 prompts; rank 1$/.test(byId('tip').textContent)")
    page.run("document.querySelector('#pareto .dot').scrollIntoView({ block: 'center', behavior: 'instant' })")
    page.hover("#pareto .dot")
    page.wait("byId('tip').textContent.includes('network evaluations a clip')")
    box = page.run(
        "(() => { const b = byId('tip').getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom] })()"
    )
    assert min(box) >= 0
    assert box[2] <= 1280
    assert box[3] <= 800


def test_plots_and_wins_in_the_dark(page: Browser, site: Path, keep: Callable[[str], None]) -> None:
    page.dark()
    page.open(site.as_uri())
    assert sum(page.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")) < 150
    page.run("byId('wins').scrollIntoView({ block: 'center', behavior: 'instant' })")
    page.wait("document.querySelectorAll('table.wins tbody td').length === 16")
    row = "[...document.querySelectorAll('table.wins tbody tr')].find(row => row.cells[0].textContent === 'lower')"
    assert set(page.run(f"[...{row}.cells].slice(1).map(cell => cell.textContent)")) == {"100", "·"}
    keep("site-wins-dark")
    page.run("(byId('duel').selectedIndex = 1, showWins())")
    page.wait("byId('wins').querySelector('table') && !byId('won').textContent")
    page.click(".key[data-row=lower]")
    faded = "[...document.querySelectorAll('#pareto > div:not([hidden]) .series:not(.faded)')].map(s => s.dataset.row)"
    assert page.run(faded) == ["lower"]
    page.run("(byId('cost').value = 'generate_s', choosePlot())")
    page.wait("document.querySelector('#pareto > div:not([hidden]) svg[aria-label$=\"seconds to generate\"]')")
    page.wait(f"{faded}.length === 1")
    keep("site-plots-dark")
    clean(page)


def test_rows_and_prompts_play(page: Browser, site: Path, keep: Callable[[str], None]) -> None:
    page.open((site.parent / "rows" / "lower.html").as_uri())
    page.run("document.querySelector('article').scrollIntoView()")
    plays(page, PROMPTS)
    keep("site-row-light")
    page.click("a[rel=next]")
    page.wait("document.querySelector('h1').textContent !== 'lower'")
    page.open((site.parent / "prompts" / "0003-a-red-ball.html").as_uri())
    plays(page, 4)
    assert page.run("document.querySelector('h1').textContent") == TEXTS[3]
    page.run("goTo(2)")
    page.wait("videosOf(document).every(v => Math.abs(v.currentTime - 2.5 / 8) < 0.01 && v.paused)")
    page.dark()
    keep("site-prompt-dark")
    clean(page)


@pytest.mark.parametrize("number", [0, PROMPTS - 2, PROMPTS - 1])
def test_texts_stay_texts(page: Browser, site: Path, number: int) -> None:
    page.open((site.parent / prompt_link(f"{number:04d}-a-red-ball")).as_uri())
    assert page.run("document.querySelector('h1').textContent") == TEXTS[number]
    clean(page)


def test_a_hostile_name(page: Browser, site: Path) -> None:
    page.open(site.as_uri())
    assert page.run(f"{ROWS}.at(-1).querySelector('a').textContent") == HOSTILE
    assert page.run(f"{ROWS}.at(-1).querySelector('a').getAttribute('href')") == row_link(HOSTILE)
    page.run(f"{ROWS}.at(-1).querySelector('a').click()")
    page.wait("document.querySelectorAll('video').length === 2")
    assert page.run("document.querySelector('h1').textContent") == HOSTILE
    clean(page)


@pytest.mark.parametrize("name", ["index", "rows/lower", "prompts/0000-a-red-ball"])
def test_a_phone(page: Browser, site: Path, name: str, keep: Callable[[str], None]) -> None:
    page.resize(400, 800)
    page.open((site.parent / f"{name}.html").as_uri())
    assert page.run("document.documentElement.scrollWidth") <= 400
    if name.startswith("prompts"):
        plays(page, 5)
    keep(f"site-phone-{name.split('/')[0]}")
    clean(page)


def test_published_rows_stand_apart(page: Browser, tmp_path: Path, keep: Callable[[str], None]) -> None:
    """Marked, below, in no rank and no plot, and can be hidden."""
    dynamic, total = M("vbench/dynamic_degree"), M("vbench/total", level="summary")
    folder = write_suite(tmp_path / "runs", ["base", "dmd"], [dynamic, total], 12, name="avd-wan21-1.3b")
    write_cell(folder, "base", {dynamic: [0.2 + 0.01 * i for i in range(12)], total: [0.80]})
    write_cell(folder, "dmd", {dynamic: [0.7 + 0.01 * i for i in range(12)], total: [0.81]})
    page.open(write_site(table(folder), tmp_path / "site", {}).as_uri())
    found = page.run(NAMES)
    assert found[:2] == ["dmd", "base"]
    assert len(found) == 8
    assert all(name.startswith("† ") and name.endswith("(AVD)") for name in found[2:])
    body = "document.querySelector('tbody[data-kind=published]')"
    assert "not measured here" in page.run(f"{body}.querySelector('.divider').textContent")
    assert page.run(f"{body}.querySelectorAll('sup, td[style], .best').length") == 0
    page.click(HEAD.format(2))
    assert page.run(NAMES)[:2] == ["dmd", "base"]
    assert page.run(f"[...{body}.rows].slice(1).map(row => +row.cells[1].dataset.value)") == [
        1.0, 0.9972, 0.9777, 0.8556, 0.7861, 0.7222,
    ]  # fmt: skip
    keep("site-published")
    assert page.run("[...document.querySelectorAll('.series')].some(s => s.dataset.row.includes('†'))") is False
    page.click(".hide[data-kind=published]")
    assert page.run(NAMES) == ["dmd", "base"]
    clean(page)


def crowd(board: Leaderboard, count: int) -> Leaderboard:
    """So many rows with made-up numbers on the first metric, all with the clips of one."""
    one, column = board.entries[0], board.columns[0]
    labels = [f"row {i:02d}" for i in range(count)]
    scores = np.random.default_rng(0).normal(0.5, 0.1, (count, PROMPTS, 1))
    value = board.values[one.label, column.key]
    values = {
        (label, column.key): replace(value, estimate=stats.estimate(own), rank=1)
        for label, own in zip(labels, scores, strict=True)
    }
    contest = Contest(tuple(labels), scores, np.ones((count, count)))
    entries = tuple(replace(one, label=label) for label in labels)
    return replace(board, columns=(column,), entries=entries, values=values, contests={column.key: contest})


def test_many_rows_come_as_they_are_needed(
    page: Browser, tiny: Leaderboard, tmp_path: Path, keep: Callable[[str], None]
) -> None:
    board = crowd(tiny, 70)
    page.open(write_site(board, tmp_path / "site", {}).as_uri())
    assert len(page.run(NAMES)) == 60
    assert page.run("byId('count').textContent") == "70 rows"
    page.run("byId('frame').scrollTo(0, 1e6)")
    page.wait(f"{NAMES}.length === 70")
    page.click(HEAD.format(2))
    best = sorted((v.estimate.mean, label) for (label, _), v in board.values.items())[::-1]
    assert page.run(NAMES) == [label for _, label in best[:60]]
    page.run("(byId('find').value = 'row 6', filterRows())")
    assert page.run("byId('count').textContent") == "16 rows"  # with a row and a 6
    page.run("byId('wins').scrollIntoView({ block: 'start', behavior: 'instant' })")
    page.wait("document.querySelector('canvas.wins')")
    page.run("document.querySelector('canvas.wins').focus()")
    page.press("ArrowRight")
    page.wait("/^row 00 beats row 02 on [0-9.]+ % of prompts, p 1$/.test(byId('won').textContent)")
    keep("site-many")
    page.open((tmp_path / "site" / "prompts" / "0000-a-red-ball.html").as_uri())
    page.wait("videosOf(document)[0].readyState >= 2")
    assert page.run("videosOf(document).length") == 70
    assert page.run("videosOf(document).filter(video => video.src).length") < 70
    clean(page)
