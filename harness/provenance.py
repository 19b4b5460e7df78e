"""Where a result came from: code, versions, machine, time and memory. Never part of a key."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.store import append_jsonl

PACKAGES = (
    "mutoscope",
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "numpy",
    "scipy",
    "av",
    "opencv-python-headless",
)
_HIGH_WATER = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def versions() -> dict[str, str | None]:
    """Installed version of each package that can change a number; None when absent."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def git_state(folder: Path) -> dict[str, Any]:
    """Commit and whether the tree differs from it; empty outside a checkout."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()


def hardware(device: str) -> dict[str, Any]:
    """Machine facts that explain a timing."""
    facts: dict[str, Any] = {
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "device": device,
    }
    torch = sys.modules.get("torch")
    if torch is not None and device.startswith("cuda"):
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


class Meter:
    """Wall time and peak memory since construction or the last `lap`."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._start()

    def _start(self) -> None:
        self.began = time.monotonic()
        torch = sys.modules.get("torch")
        if torch is not None and self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(self.device)
        elif os.access(_RESET, os.W_OK):
            _RESET.write_text("5")  # Linux: reset this process's high-water mark, so that each stage has its own

    def lap(self) -> tuple[float, float]:
        """(seconds, peak GiB) and start again. On a GPU the peak is of device memory, else of resident memory."""
        torch = sys.modules.get("torch")
        if torch is not None and self.device.startswith("cuda"):
            peak = torch.cuda.max_memory_allocated(self.device) / 2**30
        else:
            peak = _peak_resident()
        seconds = time.monotonic() - self.began
        self._start()
        return seconds, peak


def _peak_resident() -> float:
    try:
        line = next(line for line in _HIGH_WATER.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@contextmanager
def timed(path: Path, stage: str, device: str) -> Iterator[dict[str, Any]]:
    """Append a timing row to `path` when the block ends, however it ends; the block fills in counts."""
    meter = Meter(device)
    row: dict[str, Any] = {"stage": stage, "items": 0, "nfe": 0.0, "frame_nfe": 0.0}
    try:
        yield row
    finally:
        seconds, peak = meter.lap()
        if row["items"]:
            append_jsonl(path, [{**row, "seconds": round(seconds, 4), "peak_memory_gib": round(peak, 4)}])
