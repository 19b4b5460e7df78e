"""No false alarms: what ships passes, through the command. All of it is slow; a few are always tried."""

from __future__ import annotations

import pytest
import yaml

from harness import registry
from harness.suite import SHIPPED
from tests.test_cli import Run, run

__all__ = ["run"]

ROWS = list(yaml.safe_load((SHIPPED / "quick.yaml").read_text(encoding="utf-8"))["methods"])
METRICS = (
    *("shapes/alignment", "shapes/instance_preservation", "shapes/mq", "shapes/vq", "flow/dynamic_degree"),
    *("flow/magnitude", "trajan-shapes", "cdfvd-shapes", "vbench/temporal_flickering", "vbench/quality"),
    *("vbench/semantic", "vbench/total", "vbench2/total", "vmbench/mean"),
)
OFTEN = ("flow/dynamic_degree", "vbench/total")


def passes(run: Run, *words: str) -> None:
    code, out, err = run("check", *words)
    assert code == 0, out + err
    assert "FAILED" not in out


@pytest.mark.parametrize("name", OFTEN)
def test_a_shipped_metric_passes(run: Run, name: str) -> None:
    passes(run, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in METRICS if name not in OFTEN])
def test_every_shipped_metric_that_runs_here_passes(run: Run, name: str) -> None:
    passes(run, name)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_quick_suite_passes(run: Run, row: str) -> None:
    passes(run, row, "--suite", "quick")


@pytest.mark.slow
def test_every_method_is_a_row_or_passes_by_itself(run: Run) -> None:
    for name in sorted({*registry.methods.names()} - {*ROWS}):
        if registry.methods.get(name).__module__.startswith("methods."):
            passes(run, name)


@pytest.mark.slow
def test_the_shipped_backbone_and_dataset_pass(run: Run) -> None:
    passes(run, "wan")
    passes(run, "shapes", "--set", "size=8", "--set", "preset=set-a")
