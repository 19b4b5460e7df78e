"""One picture of a leaderboard: the same prompts down the page, the rows across it, a filmstrip in each place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from harness import video
from harness.errors import UserError
from harness.store import RunDir
from leaderboards.rank import Leaderboard

MARGIN, LINE = 12, 22  # pixels around things, and of a line of text
INK, PAPER, DIM = "#1d2430", "#ffffff", "#5f6b7a"


def poster(board: Leaderboard, prompts: int = 8, frames: int = 5) -> Image.Image:
    """Filmstrips of the first `prompts` clips of every row, at the first seed. UserError when there are no clips."""
    runs = {entry.label: entry.used[0] for entry in board.entries if entry.used}
    clips = {label: {row["id"]: row for row in run.clips()} for label, run in runs.items()}
    shown = sorted({(clip, row["prompt"]) for found in clips.values() for clip, row in found.items()})[:prompts]
    if not shown:
        raise UserError(f"{board.name}: no clips to show", "run the suite first")
    strips = {
        (label, clip): _strip(runs[label], clips[label][clip]["file"], frames)
        for label in runs
        for clip, _ in shown
        if clip in clips[label]
    }
    height, width = next(iter(strips.values())).shape[:2]
    block = LINE + height + MARGIN
    size = (MARGIN + len(runs) * (width + MARGIN), LINE + MARGIN + len(shown) * block)
    page = Image.new("RGB", size, PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for column, label in enumerate(runs):
        left = MARGIN + column * (width + MARGIN)
        pen.text((left, MARGIN // 2), label, INK, font)
        for number, (clip, prompt) in enumerate(shown):
            top = LINE + MARGIN + number * block
            if column == 0:
                pen.text((left, top), prompt or clip, DIM, font)
            if (label, clip) in strips:
                page.paste(Image.fromarray(strips[label, clip]), (left, top + LINE))
    return page


def _strip(run: RunDir, file: str, frames: int) -> np.ndarray:
    return video.contact_sheet(video.read(Path(run / file)).frames, frames)
