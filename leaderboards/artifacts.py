"""Files of MLflow runs: of a seed its run directory, of a row its gallery, tables and pictures."""

from __future__ import annotations

import shutil
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

from harness.store import RunDir
from leaderboards import payload, pictures
from leaderboards.export import gallery
from leaderboards.rank import Leaderboard
from leaderboards.read import Entry
from leaderboards.wall import write_wall

Client = Any  # MlflowClient
WALL = "wall.mp4"


def put_seed(client: Client, run_id: str, run: RunDir) -> dict[str, str]:
    """Clips, scores, pictures of the training, provenance. Returns what is worth a link: text -> file."""
    clips = (clip for clip in run.clips() if (run / clip["file"]).exists())
    told = {f"First clip: {clip['prompt'] or clip['id']}": clip["file"] for clip in islice(clips, 1)}
    with tempfile.TemporaryDirectory() as staging:
        for name in payload.published_files(run):
            target = Path(staging) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run.path / name, target)
        if page := pictures.page(run):
            (Path(staging) / payload.PICTURES / "index.html").write_text(page, encoding="utf-8")
            told["Pictures of its training"] = f"{payload.PICTURES.as_posix()}/index.html"
        client.log_artifacts(run_id, staging)
    return told


def put_row(client: Client, run_id: str, board: Leaderboard, entry: Entry) -> dict[str, str]:
    """Gallery, wall of clips, table of prompts, filmstrips, pictures of the training. Returns what is worth a link."""
    runs = {run.path.name.replace("seed", "seed "): run for run in entry.used}
    client.log_text(run_id, gallery(f"{entry.label} on {board.name}", runs, board.columns), "gallery.html")
    client.log_dict(run_id, entry.runs[0].cell(), "cell.json")
    client.log_dict(run_id, board.suite, "suite.json")
    client.log_table(run_id, payload.per_prompt(board, entry), "per_prompt.json")
    for run in entry.used:
        pictures.log_filmstrips(client, run_id, run)
        pictures.log_figures(client, run_id, run)
    told = {f"All clips of {entry.label}, with their scores": "gallery.html"}
    if entry.used:
        with tempfile.TemporaryDirectory() as staging:
            if shown := write_wall(entry.used[0], Path(staging) / WALL):
                client.log_artifact(run_id, str(Path(staging) / WALL))
                told[f"Its first {shown} clips playing together"] = WALL
    if page := pictures.pages(f"Training of {entry.label} on {board.name}", runs):
        client.log_text(run_id, page, "diagnostics.html")
        told["Pictures of its training"] = "diagnostics.html"
    return told
