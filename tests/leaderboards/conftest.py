"""One browser and one set of tiny results for all tests that look at pages."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from leaderboards.compare import compare
from leaderboards.compare_page import write_page
from leaderboards.rank import Leaderboard, table
from leaderboards.site import write_site
from tests.leaderboards.browser import CHROMIUM, MISSING, Browser
from tests.leaderboards.runs import M, moving_square, write_cell, write_suite

KEEP = "MUTOSCOPE_SCREENSHOTS"  # a folder: the screenshots of tests stay there
UP, DOWN = M("toy/up"), M("toy/down", higher_is_better=False, range=(0.0, 9.0))
THIRD, SIZE = M("toy/third"), M("toy/size", higher_is_better=None, unit="px")
PROMPTS = 12
HOSTILE = "x\"'><img src=x onerror=hacked=1> &amp; \u202eمرحبا\u202c"
TEXTS = [f"a red ball drifts past {i} <b>boxes</b>" for i in range(PROMPTS - 2)] + [
    "</script><script>hacked=1</script>",
    "\u202eكرة حمراء تتدحرج",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip(MISSING)
    with Browser() as found:
        yield found


@pytest.fixture
def page(chromium: Browser) -> Browser:
    """An empty tab."""
    chromium.fresh()
    return chromium


@pytest.fixture
def keep(page: Browser, tmp_path: Path) -> Callable[[str], None]:
    """Takes a screenshot of that name, into the folder that MUTOSCOPE_SCREENSHOTS names."""
    folder = Path(os.environ.get(KEEP) or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def take(name: str) -> None:
        page.screenshot(folder / f"{name}.png")
        assert (folder / f"{name}.png").stat().st_size > 5_000

    return take


def short(index: int, seed: int) -> np.ndarray:
    return moving_square(index, seed, count=5)


def low(index: int, seed: int) -> np.ndarray:
    return moving_square(index, seed, lower=4)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    """Clips whose frame can be read off the screen: `twin` shows what `plain` shows, `lower` the same further down,
    `short` ends early; a row with a hostile name is partial."""
    rows = {"plain": True, "twin": True, "lower": low, "short": short}
    folder = write_suite(tmp_path_factory.mktemp("tiny"), [*rows, HOSTILE], [UP, DOWN, THIRD, SIZE], PROMPTS)
    line = [0.01 * i for i in range(PROMPTS)]
    for number, (row, video) in enumerate(rows.items()):
        gain = (0.1, 0.1, 0.5, 0.3)[number]
        scores = {
            UP: [x + gain for x in line],
            DOWN: [2 - gain + x for x in line],
            THIRD: [0.9 - gain - x for x in line],
        }
        write_cell(folder, row, scores | {SIZE: line}, video=video, prompts=TEXTS, config={"lr": number})
    few = {UP: [0.3, None], DOWN: [1.0, 1.0], THIRD: [0.1, 0.1], SIZE: [0.1, 0.1]}
    write_cell(folder, HOSTILE, few, video=True, prompts=TEXTS[:2])
    return table(folder)


@pytest.fixture(scope="session")
def site(tiny: Leaderboard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tiny, tmp_path_factory.mktemp("site"), {"toy/up": "How far up <it> goes.\n\nLong story."})


@pytest.fixture(scope="session")
def comparison(tiny: Leaderboard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(compare(tiny, ["plain", "twin", "lower", "short"]), tmp_path_factory.mktemp("compare"))
