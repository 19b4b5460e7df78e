"""Saved views and deep links of the MLflow UI, and the command that serves it.

The format of saved views is internal to the UI: it is written here and nowhere else, for versions it was seen to work
with. Links carry the machine-learning workflow type; without it the UI opens on an empty page.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from harness.errors import UserError

SEEN_WORKING = ((3, 15), (4, 0))  # versions whose UI reads the saved views below: first, first too new
TAG = "mlflow.sharedViewState."
METHODS = "tags.level = 'method' and tags.status = 'complete'"
BOARD = "tags.level != 'seed' and tags.status != 'partial'"  # with published rows, which are neither
SEEDS = "tags.level = 'seed'"
MEANS = "^[^.]+$"  # charts of means, cost and filmstrips, not of their intervals and parts
CURVES = r"^train/(.+\.)?(loss|gnorm)$"  # of every role; methods log many more
SMOOTH = 60  # percent, as its slider: single updates are noisy
TEXT_WIDTH, NUMBER_WIDTH = 160, 140  # pixels
CHARACTER = 7.5  # pixels of one in a cell, about


@dataclass(frozen=True)
class View:
    """One saved view: which runs, which columns, in which order."""

    name: str
    search: str
    columns: tuple[str, ...]
    order_by: str
    ascending: bool
    charts: str = ""  # regular expression of the charts to show
    widths: Mapping[str, int] = field(default_factory=dict)  # column -> pixels, where it is not the usual
    by_row: bool = False  # seeds under the mean of their row


@dataclass(frozen=True)
class Score:
    """A leaderboard column as the store knows it."""

    metric: str  # metric name
    text_tag: str  # tag that holds "value, interval, rank" as text
    higher_is_better: bool | None
    longest: int = 0  # characters of its longest text, 0 if unknown


def supported(version: str) -> bool:
    """Whether this MLflow's UI is known to read the views written here."""
    parts = tuple(int(part) for part in version.split(".")[:2])
    return SEEN_WORKING[0] <= parts < SEEN_WORKING[1]


def saved_views(scores: Sequence[Score], version: str, stamp_ms: int, by_row: bool = False) -> dict[str, str]:
    """Experiment tags that hold the views that `links` names; none for an unknown MLflow version.

    Args:
        scores: the leaderboard's columns in order; the first ranked one decides the order of rows.
        by_row: show seeds under the mean of their row; of use where rows have several.
    """
    if not supported(version):
        return {}
    return {
        TAG + key: json.dumps(
            {"name": view.name, "createdAt": stamp_ms, "updatedAt": stamp_ms, "state": json.dumps(_state(view))}
        )
        for key, view in _views(scores, by_row).items()
    }


def _views(scores: Sequence[Score], by_row: bool) -> dict[str, View]:
    first = next((score for score in scores if score.higher_is_better is not None), None)
    order, ascending = (
        (f"metrics.`{first.metric}`", not first.higher_is_better) if first else ("attributes.start_time", False)
    )
    texts = [f"tags.`{score.text_tag}`" for score in scores]
    room = {f"tags.`{s.text_tag}`": max(120, 20 + round(CHARACTER * s.longest)) for s in scores if s.longest}
    means = [f"metrics.`{score.metric}`" for score in scores]
    seconds = [f"metrics.`time/{stage}_s`" for stage in ("train", "generate", "evaluate")]
    cost = [*seconds, "metrics.`mem/peak_gib`", "metrics.`nfe/clip`"]
    return {
        "leaderboard": View("Leaderboard", BOARD, (*texts, *seconds[:2]), order, ascending, "", room),
        "seeds": View("Seeds", SEEDS, ("tags.`status`", *means, *seconds[:1]), order, ascending, by_row=by_row),
        "cost": View("Quality and cost", METHODS, (*texts[:1], *cost), seconds[0], True),
        "charts": View("Charts", METHODS, tuple(texts), order, ascending, MEANS),
        "curves": View("Training curves", SEEDS, tuple(means), order, ascending, CURVES, by_row=by_row),
    }


def _state(view: View) -> dict[str, Any]:
    return {
        "searchFilter": view.search,
        "orderByKey": view.order_by,
        "orderByAsc": view.ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(view.columns),
        "columnOrder": list(view.columns),
        "columnWidths": {
            column: view.widths.get(column, TEXT_WIDTH if column.startswith("tags.") else NUMBER_WIDTH)
            for column in view.columns
        },
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "FIRST_20_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "row"}]}
        if view.by_row
        else None,
        "groupsExpanded": {},
        "autoRefreshEnabled": False,
        "chartsSearchFilter": view.charts,
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": SMOOTH if view.charts == CURVES else 0,
            "selectedXAxisMetricKey": "",
        },
    }


def links(base_url: str, experiment_id: str, run_ids: Sequence[str] = ()) -> dict[str, str]:
    """Deep links: the saved views, charts, prompts across methods and, with run ids, their comparison.

    Args:
        base_url: e.g. `http://127.0.0.1:5000`; empty for links relative to the UI.
    """
    runs = f"{base_url.rstrip('/')}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    found = {name: f"{runs}&viewStateShareKey={name}" for name in ("leaderboard", "seeds", "cost")}
    found |= {name: f"{runs}&viewStateShareKey={name}&compareRunsMode=CHART" for name in ("charts", "curves")}
    found["prompts"] = f"{runs}&{urlencode({'searchFilter': METHODS}, quote_via=quote)}&compareRunsMode=ARTIFACT"
    if run_ids:
        chosen = {"runs": json.dumps(list(run_ids)), "experiments": json.dumps([experiment_id])}
        query = urlencode({**chosen, "workflowType": "machine_learning"}, quote_via=quote)
        found["compare"] = f"{base_url.rstrip('/')}/#/compare-runs?{query}"
    return found


def artifact(base_url: str, experiment_id: str, run_id: str, name: str) -> str:
    """Link to a run's file in the UI's viewer, e.g. a clip in its player."""
    place = f"{base_url.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}/artifacts/{quote(name)}"
    return f"{place}?workflowType=machine_learning"


# ---- serving ----------------------------------------------------------------------------------------------------


def free_port(host: str, wanted: int = 5000) -> int:
    """`wanted` if nothing listens there, else one the system gives."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UserError(f"{host}: no free port", "give another host or port")


def serve_command(runs_root: Path, host: str, port: int) -> list[str]:
    """`mlflow server` over the store beside the runs. UserError when nothing was published there."""
    database = runs_root.resolve() / "mlflow.db"
    if not database.exists():
        raise UserError(f"{database}: no such store", "publish first: mutoscope publish")
    mlflow = shutil.which("mlflow", path=str(Path(sys.executable).parent)) or shutil.which("mlflow")
    if mlflow is None:
        raise UserError("the mlflow command is not installed", "install it with: pip install mlflow")
    return [
        mlflow, "server", "--backend-store-uri", f"sqlite:///{database}", "--host", host, "--port", str(port),
        "--default-artifact-root", (runs_root.resolve() / "mlartifacts").as_uri(), "--workers", "1",
    ]  # fmt: skip


def serve(runs_root: Path, host: str = "127.0.0.1", port: int = 5000) -> subprocess.Popen[bytes]:
    """Start the server; the caller waits for it and ends it."""
    import os

    folder = str(Path(sys.executable).parent)
    env = os.environ | {
        "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # else seven more processes import mlflow, for nothing we use
    }
    return subprocess.Popen(serve_command(runs_root, host, port), env=env)
