"""A leaderboard on a terminal and as Markdown: value, half-width of its interval, rank."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.stats import LEVEL
from leaderboards.compare import Comparison
from leaderboards.notes import notes
from leaderboards.rank import Leaderboard
from leaderboards.read import Column, Entry
from leaderboards.references import MARK, quoted

PLAIN_WIDTH = 120  # columns of output that is not a terminal; a comparison takes twenty more
COSTS = (
    ("train_s", "train s"),
    ("generate_s", "generate s"),
    ("evaluate_s", "evaluate s"),
    ("nfe", "NFE/clip"),
    ("peak_gib", "peak GiB"),
)
COMPARED = (
    "Difference: row minus the first one named, paired on the clips both have; interval and p resample prompts, p Holm "
    "is corrected over all lines with a direction. Disagreement: spread between rows in units of each metric's spread."
)
LEGEND = (
    f"mean ±half-width of its {LEVEL:.0%} interval over prompts. #rank: rows that share it are not significantly "
    f"different from the first of them (paired, Holm, {1 - LEVEL:.0%}). Seconds are per seed."
)


def render(board: Leaderboard, console: Console, parts: bool = False) -> None:
    """Print quality, then cost, then what to be wary of. Wide boards are split into several tables.

    Args:
        parts: also print the parts of each metric, means only.
    """
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    console.print(Text(headline(board), style="bold"))
    for columns in _blocks(board, console.width):
        console.print(_quality(board, columns))
    if parts:
        console.print(_parts(board))
    console.print(_cost(board))
    for line in (LEGEND, *notes(board)):
        console.print(Text(f"· {line}", style="dim"))


def render_comparison(found: Comparison, console: Console, top: int) -> None:
    """Print paired differences metric by metric, then the `top` prompts on which the rows disagree most."""
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH + 20)
    reference = found.labels[0]
    console.print(Text(f"{', '.join(found.labels[1:])} against {reference}  ·  {found.board.name}", style="bold"))
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head in ("metric", "row"):
        shown.add_column(head, no_wrap=True)
    for head in ("mean", reference, "difference", f"{LEVEL:.0%} interval", "p", "p Holm", "n"):
        shown.add_column(Text(head), justify="right", no_wrap=True)
    for gap in found.gaps:
        d = gap.difference
        style = {True: "green", False: "red", None: ""}[gap.better]
        interval = f"{d.low:+.3g} .. {d.high:+.3g}" if math.isfinite(d.low) else "too few prompts"
        p = ("", "") if gap.metric.higher_is_better is None else (f"{d.p:.3g}", f"{gap.p_holm:.3g}")
        cells = (f"{gap.mean:.4g}", f"{gap.reference_mean:.4g}", f"{d.mean:+.3g}", interval, *p, str(d.n))
        name = f"{gap.metric.key} {gap.metric.arrow}".strip()
        shown.add_row(Text(name), Text(gap.row), *(Text(cell, style=style) for cell in cells))
    console.print(shown)
    if top:
        console.print(_disagreements(found, top))
    console.print(Text(COMPARED, style="dim"))


def _disagreements(found: Comparison, top: int) -> Table:
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, title="most disagreement", title_justify="left", title_style="bold")
    shown.add_column("", justify="right", no_wrap=True)
    shown.add_column("prompt", overflow="fold", max_width=56)
    columns = [column for column in found.columns if column.per_clip and column.higher_is_better is not None]
    for column in columns:
        shown.add_column(Text(_heading(column)), justify="right", no_wrap=True, vertical="bottom")
    for prompt in found.prompts[:top]:
        cells = ["  ".join(_plain(prompt.scores[label][c.key]) for label in found.labels) for c in columns]
        shown.add_row(f"{prompt.disagreement:.2f}", Text(prompt.text), *cells)
    return shown


def _plain(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.3f}"


def markdown(board: Leaderboard) -> str:
    """The same two tables and notes as GitHub-flavoured Markdown."""
    head = ["row", *(f"`{column.key}` {column.arrow} {column.unit}".strip() for column in board.columns)]
    body = [[_md_row(entry), *(_md_cell(board, column, entry) for column in board.columns)] for entry in board.entries]
    body += [[f"*{cell}*" if cell else "" for cell in row] for row in published(board, board.columns)]
    costs = [[_md_row(entry), *cost_cells(entry)] for entry in board.entries]
    lines = [f"**{headline(board)}**", "", *_md_table(head, body), ""]
    lines += [*_md_table(["row", *COST_HEADS], costs), "", *(f"- {line}" for line in (LEGEND, *notes(board)))]
    return "\n".join(lines) + "\n"


def latex(board: Leaderboard) -> str:
    """A `booktabs` table of the complete rows: mean with the half-width of its interval, best ranks bold."""
    columns = [column for column in board.columns if column.higher_is_better is not None]
    heads = " & ".join(_tex(f"{c.key.split('/')[-1].replace('_', ' ')}") + _TEX_ARROWS[c.arrow] for c in columns)
    lines = [
        f"% {headline(board)}",
        f"% {LEGEND}",
        "\\begin{tabular}{l" + "r" * len(columns) + "}",
        "\\toprule",
        f"method & {heads} \\\\",
        "\\midrule",
    ]
    for entry in board.entries:
        if entry.complete:
            cells = " & ".join(_tex_cell(board, column, entry) for column in columns)
            lines.append(f"{_tex(entry.label)} & {cells} \\\\")
    for number, (label, *texts) in enumerate(published(board, columns)):
        lines += ["\\midrule"] if not number else []
        name = _tex(label.removeprefix(f"{MARK} "))
        lines.append(" & ".join([f"$\\dagger$ {name}", *(f"${text}$" if text else "--" for text in texts)]) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


_TEX_ARROWS = {"↑": " $\\uparrow$", "↓": " $\\downarrow$", "": ""}
_TEX_SPECIAL = {**{c: f"\\{c}" for c in "&%$#_{}"}, "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}


def _tex(text: str) -> str:
    return "".join(_TEX_SPECIAL.get(c, "\\textbackslash{}" if c == "\\" else c) for c in text)


def _tex_cell(board: Leaderboard, column: Column, entry: Entry) -> str:
    e = board.values[entry.label, column.key].estimate
    if not e.n:
        return "--"
    digits = decimals(board, column)
    mean = f"{e.mean:.{digits}f}"
    mean = f"\\mathbf{{{mean}}}" if is_best(board, column, entry) else mean
    half = f" \\pm {(e.high - e.low) / 2:.{digits}f}" if e.high > e.low else ""
    return f"${mean}{half}$"


# ---- texts shared by all forms ----------------------------------------------------------------------------------


def headline(board: Leaderboard) -> str:
    clip, suite = board.suite["clip"], board.suite
    seeds = sorted({seed for entry in board.entries for seed in entry.seeds})
    title = f"{suite['title']}  ·  " if suite["title"] else ""
    return (
        f"{title}{board.name}  ·  {suite['prompts']} prompts x {len(seeds)} seed{'s' * (len(seeds) != 1)}  ·  "
        f"{clip['frames']} frames {clip['height']}x{clip['width']} at {clip['fps']:g} fps"
    )


def published(board: Leaderboard, columns: Sequence[Column]) -> list[list[str]]:
    """Published rows beside these columns: label, then the numbers as printed, empty where there is none."""
    rows = [[reference.label, *(quoted(reference, column) for column in columns)] for reference in board.references]
    return [row for row in rows if any(row[1:])]


def cell_text(board: Leaderboard, column: Column, entry: Entry) -> str:
    """`0.812 ±0.031 #1`, no ± without an interval; `n/a` where there is nothing to score, `failed` where it broke."""
    value = board.values[entry.label, column.key]
    e = value.estimate
    if not e.n:
        return "failed" if value.errors else "n/a" if value.na else "-"
    digits = decimals(board, column)
    half = f" ±{(e.high - e.low) / 2:.{digits}f}" if e.high > e.low else ""
    rank = "" if column.higher_is_better is None else f" #{value.rank or '-'}"
    return f"{e.mean:.{digits}f}{half}{rank}"


def decimals(board: Leaderboard, column: Column) -> int:
    """Two significant digits of the column's typical half-width, 1 to 4 decimals; 3 where there is no interval."""
    found = [board.values[entry.label, column.key].estimate for entry in board.entries]
    halves = sorted(e.high - e.low for e in found if math.isfinite(e.high - e.low) and e.high > e.low)
    if not halves:
        return 3
    return min(4, max(1, 1 - math.floor(math.log10(halves[len(halves) // 2] / 2))))


def is_best(board: Leaderboard, column: Column, entry: Entry) -> bool:
    """Rank 1 where rank 1 means something: not when every row has it."""
    places = [board.values[other.label, column.key].rank for other in board.entries]
    return board.values[entry.label, column.key].rank == 1 and any((place or 0) > 1 for place in places)


def cost_cells(entry: Entry) -> list[str]:
    """Status, seeds, clips, then `COSTS`; `-` where there was no such stage."""
    numbers = [f"{entry.cost[key]:.3g}" if key in entry.cost else "-" for key, _ in COSTS]
    seeds = ",".join(map(str, entry.seeds))
    clips = f"{entry.clips}" if entry.complete else f"{entry.clips}/{entry.expected}"
    return ["complete" if entry.complete else "partial", seeds, clips, *numbers]


COST_HEADS = ("status", "seeds", "clips", *(head for _, head in COSTS))


# ---- terminal ---------------------------------------------------------------------------------------------------


def _blocks(board: Leaderboard, width: int) -> Iterator[list[Column]]:
    """Columns in groups that fit beside the row names."""
    labels = [entry.label for entry in board.entries] + [row[0] for row in published(board, board.columns)]
    first = 3 + max(map(len, labels))
    block: list[Column] = []
    used = first
    for column in board.columns:
        texts = [cell_text(board, column, entry) for entry in board.entries]
        need = 2 + max(*map(len, texts), *map(len, _heading(column).split("\n")), 0)
        if block and used + need > width:
            yield block
            block, used = [], first
        block.append(column)
        used += need
    yield block


def _heading(column: Column) -> str:
    """Last part of the name, a word a line, with the arrow; then the unit."""
    words = column.key.split("/")[-1].replace("_", "\n")
    return "\n".join(filter(None, (f"{words} {column.arrow}".rstrip(), column.unit)))


def _quality(board: Leaderboard, columns: Sequence[Column]) -> Table:
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    shown.add_column("row", no_wrap=True)
    for column in columns:
        shown.add_column(Text(_heading(column)), justify="right", no_wrap=True, vertical="bottom")
    for entry in board.entries:
        cells = [
            Text(cell_text(board, column, entry), style="bold" if is_best(board, column, entry) else "")
            for column in columns
        ]
        shown.add_row(Text(entry.label), *cells, style="" if entry.complete else "dim")
    shown.add_section()
    for row in published(board, columns):
        shown.add_row(*map(Text, row), style="italic")
    return shown


def _parts(board: Leaderboard) -> Table:
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    shown.add_column("part", no_wrap=True)
    for entry in board.entries:
        shown.add_column(Text(entry.label), justify="right", overflow="fold")
    for column in board.columns:
        values = [board.values[entry.label, column.key].parts for entry in board.entries]
        for part in sorted({name for found in values for name in found}):
            numbers = [f"{found[part][0]:.3f}" if part in found else "-" for found in values]
            shown.add_row(Text(f"{column.key}.{part}"), *numbers)
    return shown


def _cost(board: Leaderboard) -> Table:
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, head in enumerate(("row", *COST_HEADS)):
        shown.add_column(head, justify="left" if number < 2 else "right", no_wrap=True)
    for entry in board.entries:
        shown.add_row(Text(entry.label), *cost_cells(entry), style="" if entry.complete else "dim")
    return shown


# ---- Markdown ---------------------------------------------------------------------------------------------------


def _md_row(entry: Entry) -> str:
    return entry.label if entry.complete else f"{entry.label} (partial)"


def _md_cell(board: Leaderboard, column: Column, entry: Entry) -> str:
    text = cell_text(board, column, entry)
    return f"**{text}**" if is_best(board, column, entry) else text


def _md_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    rows = [list(head), ["---", *["---:"] * (len(head) - 1)], *map(list, body)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
