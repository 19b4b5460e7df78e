"""A study's report on a terminal and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.stats import LEVEL
from harness.store import Json
from leaderboards.arena.columns import agreement_text
from leaderboards.arena.report import Duel, Report, Share, Standing
from leaderboards.arena.strength import PRIOR

PLAIN_WIDTH = 120  # columns of output that is not a terminal
LEGEND = (
    f"Win, tie and loss: share of pairs of clips by the majority of their raters, with Wilson's {LEVEL:.0%} interval; "
    "an answer needs more than half of its pair's raters, pairs without one count as ties (split).",
    "Mean: of all judgements, win 1, tie 0.5, loss 0, as the first row sees it; interval and p resample and flip "
    "prompts whole; p is Holm-corrected over the duels of the question.",
    "Strength: Bradley-Terry with ties (Davidson 1970), log scale, mean 0; a row one unit stronger wins 2.7 times as "
    f"often as it loses. Prior: {PRIOR:g} imaginary judgement a row against average strength. Rows that share a # are "
    "not shown to differ (Holm).",
)


def render(found: Report, console: Console) -> None:
    """Question by question, then the raters."""
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    total = sum(standing.judgements for standing in found.standings)
    count = sum(rater.judgements > 0 for rater in found.raters)
    what = f"{total} judgement{'s' * (total != 1)} by {count} rater{'s' * (count != 1)}"
    console.print(Text(f"{what}  ·  study {found.study.digest[:8]}", "bold"))
    for standing in found.standings:
        _question(standing, console)
    if found.raters:
        console.print(_raters(found))
    lines = [*LEGEND, f"The left clip was chosen in {_percent(found.left)} of the decided answers of all raters."]
    if found.changed:
        lines.append(f"{found.changed} answers were changed by undo; the last one counts.")
    for line in lines:
        console.print(Text(f"· {line}", style="dim"))


def as_json(found: Report) -> Json:
    """Every number; None where there is none."""
    standings = []
    for s in found.standings:
        strengths = None
        if s.strengths is not None:
            t = s.strengths
            columns = zip(s.rows, t.theta.tolist(), t.low.tolist(), t.high.tolist(), t.ranks, strict=True)
            strengths = {
                "ties": t.ties,
                "rows": [dict(zip(("row", "strength", "low", "high", "rank"), line, strict=True)) for line in columns],
            }
        standings.append(
            {
                **asdict(s.question), "judgements": s.judgements, "duels": [asdict(duel) for duel in s.duels],
                "agreement": asdict(s.agreement), "strengths": strengths,
            }
        )  # fmt: skip
    whole = {
        "study": found.study.digest, "suite": found.study.suite, "questions": standings,
        "raters": [asdict(rater) for rater in found.raters], "left": asdict(found.left), "changed": found.changed,
    }  # fmt: skip
    return _finite(whole)


def _question(standing: Standing, console: Console) -> None:
    q = standing.question
    console.print(Text.assemble("\n", (q.text, "bold"), f"  arena/{q.key}, {standing.judgements} judgements"))
    if not standing.judgements:
        return
    console.print(_duels(standing))
    if standing.strengths is not None:
        console.print(_strengths(standing))
    else:
        console.print(Text("no strengths: the comparisons so far do not connect all rows with each other", "yellow"))
    console.print(Text(agreement_text(standing.agreement)))


def _duels(standing: Standing) -> Table:
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head in ("row", "against"):
        shown.add_column(head, no_wrap=True)
    for head in ("win %", "tie %", "loss %", "split", "pairs", "mean", "p Holm"):
        shown.add_column(head, justify="right", no_wrap=True)
    for duel in standing.duels:
        e = duel.outcome
        interval = f" [{e.low:.2f}, {e.high:.2f}]" if math.isfinite(e.low) else ""
        shown.add_row(
            Text(duel.first), Text(duel.second), *map(_percent, (duel.win, duel.tie, duel.loss)), str(duel.split),
            str(duel.pairs), f"{e.mean:.2f}{interval}", f"{duel.p_holm:.3g}", style=_style(duel),
        )  # fmt: skip
    return shown


def _style(duel: Duel) -> str:
    if duel.p_holm > 1 - LEVEL:
        return ""
    return "green" if duel.outcome.mean > 0.5 else "red"


def _strengths(standing: Standing) -> Table:
    found = standing.strengths
    assert found is not None
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    shown.add_column("#", justify="right")
    shown.add_column("row", no_wrap=True)
    shown.add_column("strength", justify="right")
    shown.add_column(f"{LEVEL:.0%} interval", justify="right")
    for place in sorted(range(len(standing.rows)), key=lambda k: (found.ranks[k], -found.theta[k])):
        known = math.isfinite(found.low[place])
        interval = f"[{found.low[place]:+.2f}, {found.high[place]:+.2f}]" if known else "too few prompts"
        cells = f"{found.theta[place]:+.2f}", interval
        shown.add_row(str(found.ranks[place]), Text(standing.rows[place]), *cells)
    return shown


def _raters(found: Report) -> Table:
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, title="\nraters", title_justify="left", title_style="bold")
    shown.add_column("name", no_wrap=True)
    for head in ("answers", "left %", "tie %", "as others %", "seconds"):
        shown.add_column(head, justify="right", no_wrap=True)
    for r in found.raters:
        same = "-" if math.isnan(r.same) else f"{100 * r.same:.0f}"
        seconds = "-" if math.isnan(r.seconds) else f"{r.seconds:.1f}"
        shown.add_row(
            Text(r.name), f"{r.judgements}/{r.asked}", _percent(r.left), _percent(r.tie), same, seconds
        )  # fmt: skip
    return shown


def _percent(found: Share) -> str:
    if math.isnan(found.share):
        return "-"
    return f"{100 * found.share:.0f} [{100 * found.low:.0f}, {100 * found.high:.0f}]"


def _finite(value: object) -> Json:
    """NaN becomes None: JSON has no word for it."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]  # type: ignore[return-value]
    return None if isinstance(value, float) and not math.isfinite(value) else value  # type: ignore[return-value]
