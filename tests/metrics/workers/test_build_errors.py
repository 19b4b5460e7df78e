"""What is said when a step of a build fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UserError
from metrics.workers.environment import find_uv, last_words
from tests.metrics.workers.test_environment import home, quiet, toy, with_source

__all__ = ["home"]  # the fixture

NETWORK = """Using Python 3.11.7 environment at: env
error: Request failed after 3 retries in 3.9s
  cause: Failed to fetch: http://127.0.0.1:9/index/nvidia-cublas/
  cause: client error (Connect)
  cause: Connection refused (os error 111)
"""
COMPILER = """Using Python 3.11.7 environment at: env
  × Failed to build `mmcv==2.2.0`
  ├─▶ The build backend returned an error
  ╰─▶ Call to `setuptools.build_meta.build_wheel` failed (exit status: 1)

      [stderr]
      Traceback (most recent call last):
      error: command 'g++' failed
"""
GIT = "remote: Repository not found.\nfatal: repository 'https://example.org/o/r/' not found\n"
SMOKE = "error: a module's own words\nTraceback (most recent call last):\n  File x\nImportError: libGL.so.1: no file\n"


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (
            NETWORK,
            "error: Request failed after 3 retries in 3.9s: Failed to fetch: http://127.0.0.1:9/index/nvidia-cublas/: "
            "client error (Connect): Connection refused (os error 111)",
        ),
        (
            COMPILER,
            "Failed to build `mmcv==2.2.0` The build backend returned an error Call to "
            "`setuptools.build_meta.build_wheel` failed (exit status: 1) [stderr] Traceback (most recent call last): "
            "error: command 'g++' failed",
        ),
        (GIT, "fatal: repository 'https://example.org/o/r/' not found"),
        (SMOKE, "ImportError: libGL.so.1: no file"),
        ("half\nof it\n\n", "of it"),
        ("", ""),
        ("error: " + "x" * 900 + "the end\n", "error: " + "x" * 293 + " ... " + "x" * 93 + "the end"),
    ],
)
def test_a_failed_step_is_one_line(printed: str, said: str) -> None:
    assert last_words(printed.splitlines(keepends=True)) == said


def test_a_step_that_is_killed_and_a_disk_that_is_full_are_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = toy(home, smoke="import os; print(5, flush=True); os.kill(os.getpid(), 9)")
    with pytest.raises(UserError, match=r"^building toy was killed by SIGKILL: 5\nthe whole log: "):
        env.build(say=quiet)

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("metrics.workers.environment.os.replace", full)
    with pytest.raises(
        UserError, match=r"building toy failed: /.*ready.json: No space left on device\nfree some space"
    ):
        toy(home).build(say=quiet)
    assert env.status() == "broken"


def test_without_git_the_message_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = find_uv()
    monkeypatch.setattr("metrics.workers.environment.find_uv", lambda: uv)
    env = with_source(home, "0" * 40, "https://example.org/o/r")
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(UserError, match=r"^building toy failed: git: No such file or directory\ninstall git$"):
        env.build(say=quiet)
