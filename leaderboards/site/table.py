"""The site's table: ranked rows, then partial ones, then what papers report; numbers line up, hovering explains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from leaderboards.page import FIGURE_SPACE, NONE, places, short, signed
from leaderboards.rank import Value
from leaderboards.read import Column, Entry
from leaderboards.references import MARK, Reference, quoted
from leaderboards.show import COSTS
from leaderboards.site.shell import Site, estimate, explain, row_link

ABSENT = {  # why a row has no such cost
    "train_s": "not trained here",
    "generate_s": "its clips were not generated here",
    "evaluate_s": "not evaluated yet",
    "nfe": "the number of network evaluations is not known",
    "peak_gib": "memory was not measured on this device",
}
COST_TITLES = {
    "train_s": "seconds of training, mean per seed",
    "generate_s": "seconds to generate all clips, mean per seed",
    "evaluate_s": "seconds to score all clips, mean per seed",
    "nfe": "network evaluations a clip, by all networks that sampling runs",
    "peak_gib": "the most memory that a stage took, GiB",
}
LEGEND = (
    "Mean ± half-width of its 95 % interval over prompts; the bar below spans the interval on the column's own scale. "
    "Small numbers are ranks: rows that share one are not significantly different from the first of them (paired, "
    "Holm, 5 %). <b>Bold</b>: rank 1 where that tells rows apart. <span class='saturated'>Dotted</span>: saturated, "
    "nearly every clip at the best end. Seconds are per seed."
)


def board_table(site: Site) -> str:
    """Filters, the table, and how to read it."""
    board, columns = site.board, site.board.columns
    shown = [reference for reference in board.references if any(quoted(reference, c) for c in columns)]
    partial = [entry for entry in board.entries if not entry.complete]
    layout = {column.key: _Layout(site, column) for column in columns}
    digits = {key: _cost_places([e.cost[key] for e in board.entries if key in e.cost]) for key, _ in COSTS}
    bodies = _body("complete", "", (_row(site, e, layout, digits) for e in board.entries if e.complete))
    wide = 1 + len(columns) + len(COSTS)
    if partial:
        head = _divider(wide, "Partial", "not all clips or stages finished: shown, not ranked")
        bodies += _body("partial", head, (_row(site, entry, layout, digits) for entry in partial))
    if shown:
        head = _divider(wide, f"{MARK} Published", "what papers report, not measured here: shown, not ranked")
        bodies += _body("published", head, (_published(reference, columns) for reference in shown))
    heads = [_head("row", "the method and its configuration; the link leads to its page", "text", "up")]
    heads += [_metric_head(site, column) for column in columns]
    heads += [_head(name, COST_TITLES[key], "cost", "up") for key, name in COSTS]
    return (
        f'{_filters(bool(partial), bool(shown))}<div class="scroll" id="frame"><table id="board"><thead><tr><td></td>'
        f'{_families(columns)}<th colspan="{len(COSTS)}" scope="colgroup" class="family">cost</th></tr>'
        f"<tr>{''.join(heads)}</tr></thead>{bodies}</table></div><p class='dim legend'>{LEGEND}</p>"
    )


class _Layout:
    """How the numbers of one column are printed: decimals, widths that make them line up, the scale of the bars."""

    def __init__(self, site: Site, column: Column) -> None:
        self.digits = site.digits[column.key]
        found = [estimate(site, entry, column) for entry in site.board.entries]
        self.low, self.high = site.reach[column.key]
        halves = [self.half_text(e.low, e.high) for e in found]
        self.blank = f'<i class="blank">{max(halves, key=len)}</i>' if any(halves) else ""  # keeps the place of a ±
        ranks = [site.board.values[entry.label, column.key].rank or 0 for entry in site.board.entries]
        self.ranked, self.worst, self.rank = any(ranks), max(ranks, default=0), len(str(max(ranks, default=0)))

    def half_text(self, low: float, high: float) -> str:
        return f"±{(high - low) / 2:.{self.digits}f}" if high > low else ""

    def bar(self, low: float, high: float) -> str:
        """From left and from right, as shares of the cell."""
        span = (self.high - self.low) or 1.0
        return f"--a:{(low - self.low) / span:.2g};--b:{(self.high - high) / span:.2g}"


# ---- heads -------------------------------------------------------------------------------------------------------


def _filters(partial: bool, published: bool) -> str:
    hide = "".join(
        f'<label><input class="hide" type="checkbox" checked data-kind="{kind}"> {text}</label>'
        for kind, text, on in (("partial", "partial rows", partial), ("published", "published rows", published))
        if on
    )
    return (
        '<div class="bar"><label>find <input id="find" type="search" placeholder="a row\'s name" '
        f'aria-controls="board"></label>{hide}<span id="count" class="dim" role="status"></span></div>'
    )


def _families(columns: Sequence[Column]) -> str:
    """A heading over neighbouring metrics whose names begin alike."""
    out: list[tuple[str, int]] = []
    for column in columns:
        family = column.key.split("/")[0] if "/" in column.key else ""
        if out and out[-1][0] == family:
            out[-1] = (family, out[-1][1] + 1)
        else:
            out.append((family, 1))
    return "".join(f'<th colspan="{count}" scope="colgroup" class="family">{escape(name)}</th>' for name, count in out)


def _metric_head(site: Site, column: Column) -> str:
    mark = "<sup>*</sup>" if column.name in site.warnings else ""
    style = "" if column.higher_is_better is not None else "descriptive"
    first = "up" if column.higher_is_better is False else "down"
    return _head(f"{short(column)}\u00a0{column.arrow}".strip(), explain(site, column), style, first, mark)


def _head(text: str, title: str, style: str, first: str, more: str = "") -> str:
    """`first`: which way the first click sorts."""
    return (
        f'<th scope="col" class="{style}" aria-sort="none" data-first="{first}">'
        f'<button class="sort" title="{escape(title)}">{escape(text)}{more}</button></th>'
    )


def _divider(wide: int, name: str, text: str) -> str:
    return f'<tr class="divider"><th colspan="{wide}" scope="rowgroup"><b>{name}</b> <span>{text}</span></th></tr>'


# ---- rows --------------------------------------------------------------------------------------------------------


def _body(kind: str, head: str, rows: Iterable[str]) -> str:
    return f'<tbody data-kind="{kind}">{head}{"".join(rows)}</tbody>'


def _row(site: Site, entry: Entry, layout: Mapping[str, _Layout], digits: Mapping[str, int]) -> str:
    label = escape(entry.label)
    cells = "".join(_cell(site.board.values[entry.label, key], found) for key, found in layout.items())
    for number, (key, _) in enumerate(COSTS):
        value, first = entry.cost.get(key), " first" if number == 0 else ""
        cells += (
            f'<td class="cost{first}" data-value="{value:.9g}">{value:.{digits[key]}f}</td>'
            if value is not None
            else f'<td class="cost none{first}" title="{ABSENT[key]}">{NONE}</td>'
        )
    return (
        f'<tr><th scope="row" class="text" data-value="{label}">{site.marks[entry.label].icon()}'
        f'<a href="{row_link(entry.label)}">{label}</a></th>{cells}</tr>'
    )


def _cost_places(values: Sequence[float]) -> int:
    """Decimals that show three digits of the middle value; none where all are whole."""
    if all(value == round(value) for value in values):
        return 0
    return max(0, places([sorted(values)[len(values) // 2]]) - 1)


def _cell(value: Value, layout: _Layout) -> str:
    e = value.estimate
    if not e.n:
        text, style, why = _nothing(value)
        return f'<td class="{style}" title="{why}">{text}</td>'
    half = layout.half_text(e.low, e.high)
    half = f"<i>{half}</i>" if half else layout.blank
    rank = f"<sup>{str(value.rank or '').ljust(layout.rank, FIGURE_SPACE)}</sup>" if layout.ranked else ""
    best = value.rank == 1 and layout.worst > 1
    style = ' class="best"' if best else ""
    mean = signed(f"{e.mean:.{layout.digits}f}")
    mean = f"<u>{mean}</u>" if value.saturated else mean
    bar = f' style="{layout.bar(e.low, e.high)}"' if e.high > e.low else ""
    return f'<td{style} data-value="{e.mean:.9g}"{bar} title="{_told(value, layout.digits)}">{mean}{half}{rank}</td>'


def _nothing(value: Value) -> tuple[str, str, str]:
    """Text, style and reason of a cell without a number."""
    if value.errors:
        return "failed", "bad", f"failed on {value.errors} clips; the row's page says why"
    if value.na:
        return "n/a", "na", f"not applicable: nothing to score in any of {value.na} clips"
    return NONE, "none", "not scored"


def _told(value: Value, digits: int) -> str:
    e = value.estimate
    said = [f"{e.low:.{digits}f} to {e.high:.{digits}f}"] if e.high > e.low else []
    said += [f"{e.n} scores of {e.prompts} prompts" if e.prompts > 1 else f"{e.n} value{'s' * (e.n != 1)}"]
    counts = (("not applicable", value.na), ("failed", value.errors), ("missing", value.missing))
    said += [f"{count} {name}" for name, count in counts if count]
    said += ["saturated: nearly every clip is at the best end"] if value.saturated else []
    said += [f"rank {value.rank}"] if value.rank else []
    return signed("; ".join(said))


def _published(reference: Reference, columns: Sequence[Column]) -> str:
    told = "\n".join(filter(None, (reference.source, reference.note)))
    cells = ""
    for column in columns:
        text = quoted(reference, column)
        value = f' data-value="{reference.quotes[column.name].value:.9g}"' if text else ""
        cells += f"<td{value}>{signed(text) or NONE}</td>"
    cells += f'<td class="cost first none" colspan="{len(COSTS)}">{escape(reference.source)}</td>'
    label = escape(reference.label)
    link = f'<a href="{escape(reference.url)}">{label}</a>' if reference.url.startswith("https://") else label
    return f'<tr><th scope="row" class="text" data-value="{label}" title="{escape(told)}">{link}</th>{cells}</tr>'
