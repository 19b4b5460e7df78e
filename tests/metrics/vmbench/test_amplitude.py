"""PAS of recorded answers (`transcript_amplitude.json`, made by record_amplitude.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.api import Clip, Score
from metrics import vmbench
from metrics.vmbench.metrics import PerceptibleAmplitude, VMBenchOptions

HEAD, MOVING, STILL = json.loads((Path(__file__).parent / "transcript_amplitude.json").read_text(encoding="utf-8"))
METRIC = PerceptibleAmplitude(VMBenchOptions())


@pytest.mark.parametrize(("exchange", "value"), [(MOVING, 2.4460256099700928e-05), (STILL, 1.581059768795967e-05)])
def test_amplitude_is_the_scripts_own_number(exchange: dict[str, Any], value: float) -> None:
    """A tracker of random weights moves nothing far, but what the script writes is what we read."""
    assert METRIC.read(exchange["answer"]) == Score(value, {"frames": 4.0})


def test_our_request_is_the_recorded_one() -> None:
    clip = Clip("c", Path("c.mp4"), "5" * 64, "A block moves.", meta={"subject_noun": "block"})
    assert METRIC.request(clip) == MOVING["request"] == STILL["request"]


def test_the_transcript_is_of_the_pinned_environment() -> None:
    pins = (Path(vmbench.__file__).parent / "official_env" / "requirements.txt").read_text().splitlines()
    assert [name for name, version in HEAD["versions"].items() if f"{name}=={version}" not in pins] == ["python"]
