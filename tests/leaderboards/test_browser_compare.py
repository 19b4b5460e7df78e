"""The comparison as someone sees it: all players show one frame, the controls do what they say, nothing is fetched."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from leaderboards.compare import compare
from leaderboards.compare_page import write_page
from leaderboards.rank import Leaderboard
from tests.leaderboards.browser import PATIENCE, Browser
from tests.leaderboards.conftest import HOSTILE, TEXTS

PLAYERS = "videosOf(document.querySelector('article'))"
READY = f"{PLAYERS}.length > 1 && {PLAYERS}.every(v => v.readyState >= 2)"
STILL = f"{PLAYERS}.every(v => v.paused && !v.seeking)"
ROWS = ("plain", "twin", "lower", "short")


def opened(page: Browser, address: Path, order: str = "prompt|up") -> None:
    page.open(address.as_uri())
    page.run(f"(byId('order').value = '{order}', sortCards())")
    page.run("document.querySelector('article').scrollIntoView()")  # clips load when they come near
    page.wait(READY)


def video(row: str) -> str:
    return f"article:first-child video[data-row={row}]"


def painted(page: Browser, row: str, expected: int) -> int:
    """The frame that is on the screen, waited for: told by the left edge of the square, which is at 2 + 2 f of 32."""
    end, found = time.monotonic() + PATIENCE / 4, -1
    while found != expected and time.monotonic() < end:
        picture = page.pixels(video(row))
        columns = np.flatnonzero((np.abs(picture - 230).sum(axis=2) > 60).mean(axis=0) > 0.15)
        if columns.size:
            found = round((columns[0] * 32 / picture.shape[1] - 2) / 2)
    return found


def test_every_player_shows_the_frame_that_the_page_says(
    page: Browser, comparison: Path, keep: Callable[[str], None]
) -> None:
    opened(page, comparison)
    before = page.run("document.querySelector('video').currentTime")
    page.wait(f"document.querySelector('video').currentTime !== {before}")  # it plays
    page.press(" ")
    page.wait(STILL)
    assert page.run("byId('play').textContent") == "Play"
    page.run("goTo(0)")
    for _ in range(3):
        page.click("#forward")
    page.wait("byId('where').textContent === '4 / 9'")
    assert all(painted(page, row, 3) == 3 for row in ROWS)
    page.press("ArrowRight")
    page.press("ArrowRight")
    page.press("ArrowLeft")
    assert all(painted(page, row, 4) == 4 for row in ROWS)
    for _ in range(3):
        page.press("ArrowRight")
    assert all(painted(page, row, 7) == 7 for row in ROWS[:3])
    assert painted(page, "short", 4) == 4  # it has five frames and waits on the last one
    times = page.run(f"{PLAYERS}.map(v => v.currentTime)")
    assert times[:3] == pytest.approx([7.5 / 8] * 3, abs=0.01)
    assert page.run(f"{PLAYERS}.every(v => v.error === null && v.videoWidth === 32)")
    keep("compare-light")
    assert page.errors() == []
    assert page.requests() == []


def test_differences_are_those_of_one_frame(page: Browser, comparison: Path, keep: Callable[[str], None]) -> None:
    """A clip that is the same differs nowhere at any frame; one further down only where either square is."""
    opened(page, comparison)
    page.press("d")
    page.dark()
    page.run("setPlaying(false)")
    for frame in (2, 6):
        page.run(f"goTo({frame})")
        assert all(painted(page, row, frame) == frame for row in ROWS[:3])
        page.wait(f"{PLAYERS}.every(v => ready(v))")
        page.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        same, other = (page.pixels(f"article:first-child canvas[data-row={row}]") for row in ("twin", "lower"))
        inside = slice(len(same) // 20, -len(same) // 20)  # corners are round
        assert same[inside, inside].max() <= 12  # three times a rounding of colours
        lit = np.flatnonzero((other.sum(axis=2) > 150).mean(axis=0) > 0.1) * 32 / other.shape[1]
        assert (lit[0], lit[-1]) == (pytest.approx(2 + 2 * frame, abs=1.1), pytest.approx(11.9 + 2 * frame, abs=1.1))
    keep("compare-difference-dark")
    assert page.errors() == []


def test_speed_loop_and_end(page: Browser, comparison: Path) -> None:
    opened(page, comparison)
    page.run("(byId('speed').value = '2', byId('speed').onchange(), byId('loop').click())")
    assert set(page.run(f"{PLAYERS}.map(v => v.playbackRate)")) == {2}
    page.wait("byId('play').textContent === 'Play' && byId('where').textContent === '9 / 9'")  # it has stopped
    page.wait(STILL)
    assert all(painted(page, row, 8) == 8 for row in ROWS[:3])
    page.press("l")
    page.press(" ")
    page.run("window.turns = 0; onTick.push(() => { if (time < window.was) turns += 1; window.was = time })")
    page.wait("turns > 2")  # round and round
    assert page.run("playing")
    slow = page.run("(byId('speed').value = '0.1', byId('speed').onchange(), videosOf(document)[0].playbackRate)")
    assert slow == pytest.approx(0.1)


def test_order_find_keyboard_and_texts(page: Browser, comparison: Path) -> None:
    opened(page, comparison)
    texts = "[...document.querySelectorAll('article:not([hidden])')].map(card => card.dataset.prompt)"
    assert page.run(texts) == sorted(TEXTS, key=lambda text: text.encode("utf-16-be"))
    page.run("(byId('order').value = 'm0|down', sortCards())")
    gaps = page.run("[...document.querySelectorAll('article')].map(card => +card.dataset.m0)")
    assert gaps == sorted(gaps, reverse=True)
    page.run("byId('find').focus()")
    page.type("past 3")
    assert page.run(texts) == [TEXTS[3]]
    assert page.run("byId('count').textContent") == "1 prompt"
    page.press(" ")  # a space in the text, not a pause
    assert page.run("byId('find').value") == "past 3 "
    assert page.run("document.querySelectorAll('article b b, article img, article script').length") == 0
    assert page.run("typeof hacked") == "undefined"


@pytest.mark.parametrize("rows", [["plain", HOSTILE], ["plain", "twin", "lower", "short", HOSTILE]])
def test_a_self_contained_page_on_a_phone(
    page: Browser, tiny: Leaderboard, rows: list[str], tmp_path: Path, keep: Callable[[str], None]
) -> None:
    path = write_page(compare(tiny, rows), tmp_path, inline=True)
    assert [file.name for file in tmp_path.iterdir() if file.suffix != ".png"] == ["compare.html"]
    page.resize(400, 800)
    opened(page, path, "disagreement|down")
    page.run("goTo(2)")
    assert page.run("document.documentElement.scrollWidth") <= 400
    page.wait(f"{PLAYERS}.every(v => Math.abs(v.currentTime - 2.5 / 8) < 0.01)")
    assert page.run("typeof hacked") == "undefined"
    keep(f"compare-phone-{len(rows)}")
    assert page.errors() == []
    assert page.requests() == []
