"""Pictures of a run: those of its training as one page to send, and those that MLflow's image grid shows."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from html import escape, unescape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness import video
from harness.errors import UserError
from harness.store import RunDir
from leaderboards.payload import PICTURES, clean
from leaderboards.read import seed_of

STRIPS = 6  # prompts with a filmstrip in the image grid
IMAGE = re.compile(r'src="([\w.-]+\.png)"')
PARTS = re.compile(r"(?s)(.*<body[^>]*>).*?<main>(.*)</main>(.*)")  # of a run's own page: head, pictures, end


def page(run: RunDir) -> str:
    """The run's own page of its training with the images inside it, as MLflow's viewer needs them; "" without one."""
    file = run.path / PICTURES / "index.html"
    return IMAGE.sub(lambda found: f'src="{_data(file.parent / found[1])}"', file.read_text()) if file.exists() else ""


def pages(title: str, runs: Mapping[str, RunDir]) -> str:
    """One self-contained page of several runs, a section each; "" when none has pictures.

    Args:
        runs: heading -> run directory, e.g. the seeds of one row or the rows of one seed.
    """
    found = {label: PARTS.fullmatch(page(run)) for label, run in runs.items()}
    shown = {label: parts for label, parts in found.items() if parts}
    if not shown:
        return ""
    head, _, end = next(iter(shown.values())).groups()
    head = re.sub(r"<title>.*?</title>", lambda _: f"<title>{escape(title)}</title>", head)
    links = " · ".join(f'<a href="#run{i}">{escape(label)}</a>' for i, label in enumerate(shown))
    bodies = "".join(
        f'<section id="run{i}"><h1 style="margin-top:2.5rem">{escape(label)}</h1>{parts[2]}</section>\n'
        for i, (label, parts) in enumerate(shown.items())
    )
    return f"{head}<header><h1>{escape(title)}</h1><p>{links}</p></header>\n<main>\n{bodies}</main>{end}"


def figures(run: RunDir) -> dict[str, Path]:
    """Heading -> PNG, in the order of the run's page."""
    file = run.path / PICTURES / "index.html"
    found = re.findall(r'<h2>(.*?)</h2><img src="([\w.-]+\.png)"', file.read_text()) if file.exists() else []
    return {unescape(heading): file.parent / name for heading, name in found}


# ---- MLflow's image grid, where those of several rows are laid side by side; the seed is the step -----------------


def log_figures(client: Any, run_id: str, run: RunDir) -> None:
    """The pictures of training."""
    for heading, file in figures(run).items():
        with Image.open(file) as picture:
            client.log_image(run_id, picture, key=clean(heading), step=seed_of(run), synchronous=True)


def log_filmstrips(client: Any, run_id: str, run: RunDir) -> None:
    """The clips of the first prompts, one image a clip."""
    for clip in run.clips()[:STRIPS]:
        try:
            frames = video.read(run / clip["file"]).frames
        except UserError:
            continue  # its scores say that it cannot be read; the rest of the row is still worth showing
        key = clean(clip["prompt"] or clip["id"]).replace("/", "_")[:120]
        client.log_image(run_id, sheet(frames), key=key, step=seed_of(run), synchronous=True)


def sheet(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Nine evenly spaced frames, three by three, to be read like text; the UI shows images in square cards."""
    chosen = frames[np.linspace(0, len(frames) - 1, 9).round().astype(int)]
    rows = [video.contact_sheet(chosen[first : first + 3], 3) for first in (0, 3, 6)]
    gap = np.full((2, rows[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([rows[0], gap, rows[1], gap, rows[2]])


def _data(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
