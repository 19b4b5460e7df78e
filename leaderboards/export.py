"""A leaderboard as files to send: CSV, Markdown, and one HTML page on which the clips play side by side."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from harness.store import Json, RunDir, write_text
from leaderboards.pictures import pages
from leaderboards.rank import Leaderboard, frame
from leaderboards.read import Column
from leaderboards.show import markdown

PAGE_LIMIT = 24 * 2**20  # bytes of video in one page; browsers get slow beyond

STYLE = """
:root{color-scheme:light dark;--line:light-dark(#d8dce2,#3a3f47);--dim:light-dark(#5f6b7a,#9aa5b1)}
body{font:14px/1.45 system-ui,sans-serif;margin:0 1.5rem 3rem}
header{position:sticky;top:0;z-index:2;display:flex;gap:1rem;align-items:center;flex-wrap:wrap;padding:.7rem 0;
background:Canvas;border-bottom:1px solid var(--line)}
h1{font-size:1.05rem;margin:0 auto 0 0;font-weight:600}
button,select{font:inherit;padding:.2rem .7rem}
p.note{color:var(--dim)}
section{margin:1.4rem 0;break-inside:avoid}
h2{font-size:1rem;font-weight:600;margin:0 0 .5rem}
h2 small{font-weight:400;color:var(--dim);margin-left:.6rem}
.clips{display:flex;flex-wrap:wrap;gap:1rem}
.alone main{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:0 1.4rem}
figure{margin:0;width:var(--w)}
.alone figure{max-width:20rem}
video{width:100%;display:block;background:#8883;border-radius:3px;image-rendering:pixelated}
figcaption{font-size:12px;margin-top:.3rem}
figcaption b{display:block}
dl{display:grid;grid-template-columns:1fr auto;gap:0 .6rem;margin:.1rem 0 0;color:var(--dim)}
dd{margin:0;font-variant-numeric:tabular-nums;text-align:right}
.bad{color:light-dark(#b3261e,#ff8a80)}
"""
SCRIPT = """
const all=[...document.querySelectorAll('video')],play=document.getElementById('play');
const speed=document.getElementById('speed');let on=true;
const run=()=>all.forEach(v=>{v.playbackRate=+speed.value;on?v.play().catch(()=>{}):v.pause()});
play.onclick=()=>{on=!on;play.textContent=on?'Pause':'Play';run()};
document.getElementById('again').onclick=()=>{all.forEach(v=>v.currentTime=0);run()};
speed.onchange=run;run();
"""


def gallery(
    title: str, runs: Mapping[str, RunDir], columns: Sequence[Column], limit: int = PAGE_LIMIT, link: str = ""
) -> str:
    """One self-contained page: a section per prompt, in it one player per run, with its scores.

    Args:
        runs: caption -> run directory, e.g. the seeds of one row or the rows of one seed.
        limit: bytes of video; prompts beyond it are left out, and the page says how many.
        link: a page of pictures of the training, beside this one.
    """
    clips = {label: {row["id"]: row for row in run.clips()} for label, run in runs.items()}
    scores = {label: _by_clip(run, columns) for label, run in runs.items()}
    prompts = {clip: row["prompt"] for found in clips.values() for clip, row in found.items()}
    sections, used = [], 0
    for clip, prompt in sorted(prompts.items()):
        figures = []
        for label, run in runs.items():
            row = clips[label].get(clip)
            data = (run / row["file"]).read_bytes() if row and (run / row["file"]).exists() else b""
            used += len(data)
            figures.append(_figure(label, data, scores[label].get(clip, ())))
        if used > limit:
            break
        number = clip.split("-")[0]
        head = f"<h2>{escape(prompt or clip)}<small>{escape(number)}</small></h2>"
        sections.append(f'<section>{head}<div class="clips">{"".join(figures)}</div></section>')
    left = len(prompts) - len(sections)
    note = f'<p class="note">{left} of {len(prompts)} prompts left out to keep this page small.</p>' if left else ""
    return _page(title, note + "".join(sections), len(runs), link)


def write_all(board: Leaderboard, folder: Path) -> dict[str, Path]:
    """`board.csv`, `board.md`, `gallery.html` (all rows side by side, first shared seed) and, where rows were trained,
    `diagnostics.html` (pictures of their training) in `folder`.
    """
    seed = min((seed for entry in board.entries for seed in entry.seeds), default=0)
    runs = {entry.label: run for entry in board.entries for run in entry.used if run.path.name == f"seed{seed}"}
    trained = pages(f"Training on {board.name}, seed {seed}", runs)
    texts = {
        "board.csv": frame(board).to_csv(index=False),
        "board.md": markdown(board),
        "gallery.html": gallery(
            f"{board.name}, seed {seed}", runs, board.columns, link="diagnostics.html" if trained else ""
        ),
        **({"diagnostics.html": trained} if trained else {}),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return {name: folder / name for name in texts}


def _by_clip(run: RunDir, columns: Sequence[Column]) -> dict[str, list[tuple[str, Json]]]:
    found = run.scores()
    out: dict[str, list[tuple[str, Json]]] = {}
    for column in columns:
        for row in found.get(column.id, ()):
            out.setdefault(row["clip"], []).append((column.key, row))
    return out


def _figure(label: str, data: bytes, scores: Sequence[tuple[str, Json]]) -> str:
    source = f"data:video/mp4;base64,{base64.b64encode(data).decode()}"
    player = f'<video src="{source}" autoplay muted loop playsinline controls></video>' if data else "<p>no clip</p>"
    lines = "".join(f"<dt>{escape(name.split('/')[-1].replace('_', ' '))}</dt>{_number(row)}" for name, row in scores)
    return f"<figure>{player}<figcaption><b>{escape(label)}</b><dl>{lines}</dl></figcaption></figure>"


def _number(row: Json) -> str:
    if row["error"]:
        return f'<dd class="bad" title="{escape(row["error"])}">failed</dd>'
    title = ", ".join(f"{name} {value:.3g}" for name, value in row["parts"].items())
    return f'<dd title="{escape(title)}">{"n/a" if row["value"] is None else format(row["value"], ".3f")}</dd>'


def _page(title: str, body: str, across: int, link: str) -> str:
    kind, width = ("alone", "100%") if across == 1 else ("", "224px" if across > 2 else "288px")
    more = f'<a href="{escape(link)}">Pictures of the training</a>' if link else ""
    speeds = "".join(f"<option{' selected' if s == 1 else ''} value={s}>{s}x</option>" for s in (0.25, 0.5, 1, 2))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
        f'<body class="{kind}" style="--w:{width}"><header><h1>{escape(title)}</h1><button id="play">Pause</button>'
        f'<button id="again">From start</button><label>speed <select id="speed">{speeds}</select></label>'
        f"{more}</header><main>{body}</main><script>{SCRIPT}</script></body></html>"
    )
