"""What `mutoscope serve` leads to in MLflow's pages: a table of methods by metrics, and clips that play."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from leaderboards.publish import publish
from tests.leaderboards.browser import CHROMIUM, MISSING, Browser
from tests.leaderboards.conftest import DOWN, UP
from tests.leaderboards.runs import write_cell, write_suite
from tests.leaderboards.servers import PATIENCE

ROOT = Path(__file__).parents[2]
# The grid has its first columns in a part of its own: the cells of a row, of all parts.
LINES = (
    "Object.values([...document.querySelectorAll('[role=row]')].reduce((found, row) => { "
    "const key = row.getAttribute('row-index') ?? row.getAttribute('aria-rowindex'); "
    "found[key] = `${found[key] ?? ''} ${row.innerText}`.replace(/\\s+/g, ' '); return found }, {}))"
)

# MLflow's assistant and its hint about shared views, for the pictures' sake.
CLOSE = "document.querySelectorAll('button[aria-label*=lose]').forEach(button => button.click())"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, int]]:
    """The link that `mutoscope serve` prints, the id of the run of one seed, and the command's process."""
    if not CHROMIUM:
        pytest.skip(MISSING)
    root = tmp_path_factory.mktemp("served")
    folder = write_suite(root, ["good", "bad"], [UP, DOWN], 2)
    write_cell(folder, "good", {UP: [0.8, 0.9], DOWN: [1.0, 1.1]}, video=True)
    write_cell(folder, "bad", {UP: [0.2, 0.1], DOWN: [2.0, 2.2]}, video=True)
    publish(folder)
    clip = next((root / "mlartifacts").rglob("clips/*.mp4"))
    server = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", "serve", "--runs", str(root)], text=True, cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert server.stdout is not None
    watchdog = threading.Timer(PATIENCE, _end, [server])
    watchdog.start()
    try:
        link = next((line.split()[-1] for line in server.stdout if "viewStateShareKey=leaderboard" in line), "")
        watchdog.cancel()
        assert link, "mutoscope serve printed no link"
        threading.Thread(target=server.stdout.read, daemon=True).start()  # what it logs must not fill the pipe
        yield link, clip.parts[-4], server.pid
    finally:
        watchdog.cancel()
        _end(server)


def _end(server: subprocess.Popen[str]) -> None:
    """It and its workers."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def test_the_link_opens_on_a_table(page: Browser, served: tuple[str, str, int], keep: Callable[[str], None]) -> None:
    page.resize(1600, 1000)
    page.open(served[0])
    page.wait(f"{LINES}.some(line => /good.* 0\\.850 .*#1/.test(line))")
    lines = page.run(LINES)
    assert any("up" in line and "down" in line for line in lines)  # columns of metrics
    assert [name for line in lines for name in ("good", "bad") if f" {name} " in f" {line} " and "#" in line] == [
        "good",
        "bad",
    ]
    page.run(CLOSE)
    keep("mlflow-leaderboard")
    assert all(address.startswith(served[0].split("/#")[0]) for address in page.requests())


def test_training_curves(page: Browser, served: tuple[str, str, int], keep: Callable[[str], None]) -> None:
    page.resize(1600, 1000)
    page.open(served[0].replace("Key=leaderboard", "Key=curves") + "&compareRunsMode=CHART")
    page.wait("document.body.innerText.includes('train/loss')")
    page.wait("document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length >= 2")  # one a row
    page.run(CLOSE)
    keep("mlflow-curves")


def test_a_clip_plays(page: Browser, served: tuple[str, str, int], keep: Callable[[str], None]) -> None:
    page.resize(1600, 1000)
    link, run, _ = served
    experiment = link.split("/runs?")[0]
    page.open(f"{experiment}/runs/{run}/artifacts/clips/0000-a-red-ball.mp4?workflowType=machine_learning")
    video = "document.querySelector('video')"
    page.wait(f"{video} && {video}.readyState >= 2")
    assert page.run(f"[{video}.videoWidth, {video}.duration, {video}.error]") == [32, 1.125, None]
    page.run(f"({video}.muted = true, {video}.loop = true, {video}.play())")
    page.wait(f"{video}.currentTime > 0.3")
    page.run(CLOSE)
    keep("mlflow-clip")
    assert all(address.startswith(link.split("/#")[0]) for address in page.requests())


def test_ending_the_command_ends_the_server(served: tuple[str, str, int]) -> None:
    link, _, process = served
    port = int(link.split(":")[2].split("/")[0])
    assert _listens(port)
    os.kill(process, signal.SIGTERM)
    end = time.monotonic() + PATIENCE
    while _listens(port) and time.monotonic() < end:
        time.sleep(0.2)
    assert not _listens(port)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
