"""`mutoscope audit`: do published tables add up?"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands import DONE, FAILED
from harness.errors import UserError

if TYPE_CHECKING:
    from leaderboards.audit import Report
    from leaderboards.formulas import Rule
    from leaderboards.papers import Paper

EXAMPLE = """\
paper: My report            # or the title of a paper
tables:
  - table: "1"
    unit: percent           # or fraction; without it: told from the numbers
    rows:
      - name: My model      # as printed; numbers as printed, too: 96.80, not 96.8
        scores:
          total: 82.34
          quality: 83.93
          semantic: 75.97
          subject_consistency: 94.30
          background_consistency: 94.80
          temporal_flickering: 96.82
          motion_smoothness: 97.17
          aesthetic_quality: 61.52
          dynamic_degree: 84.72
          imaging_quality: 72.77
          object_class: 95.57
          multiple_objects: 54.91
          human_action: 96.80
          color: 94.04
          spatial_relationship: 38.56
          scene: 52.69
          appearance_style: 24.76
          temporal_style: 27.09
          overall_consistency: 28.65
"""


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE...]")
@click.option(
    "--all", "every", is_flag=True, help="Also rows that add up or have nothing to recompute [default with FILE]."
)
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
@click.option("--strict", is_flag=True, help="Exit with 1 if a row does not add up.")
@click.option("--example", is_flag=True, help="Print a file to start from.")
def audit(files: Sequence[Path], every: bool, as_json: bool, strict: bool, example: bool) -> None:
    """Do published tables add up? FILE: YAML tables or folders of them [default: the papers that ship with Mutoscope].

    Totals are recomputed from the numbers they are made of. A row adds up if some true values that round to its printed
    numbers give a result that rounds to the printed one. Rows that do not are listed with the deviation and, where a
    single change explains it, the likely cause.

    \b
    mutoscope audit
    mutoscope audit --example > mine.yaml
    mutoscope audit mine.yaml
    """
    if example:
        click.echo(EXAMPLE, nl=False)
        return
    from leaderboards.audit import audit as run_audit

    report = run_audit([read_paper(path) for path in _paths(files)], list(rules()))
    if as_json:
        click.echo(json.dumps(as_data(report), indent=2, ensure_ascii=False))
    else:
        from rich.console import Console

        from leaderboards.audit_show import render

        render(report, Console(), every or bool(files))
    sys.exit(FAILED if strict and report.failing else DONE)


def as_data(report: Report) -> dict[str, list[dict[str, Any]]]:
    """The report for JSON."""
    rows = []
    for row in report.rows:
        done = [{**asdict(check), "deviation": check.deviation} for check in row.checks]
        rows.append({**asdict(row), "verdict": row.verdict, "checks": done})
    return {"rows": rows, "remarks": [asdict(remark) for remark in report.remarks]}


def _paths(files: Sequence[Path]) -> list[Path]:
    """YAML files, those of folders in order; the shipped ones if none is named."""
    import leaderboards

    found: list[Path] = []
    for path in files or [Path(root) / "published" for root in leaderboards.__path__]:
        inside = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        if not inside:
            raise UserError(f"{path}: no .yaml file in it", "mutoscope audit --example prints one")
        found += inside
    return found


def read_paper(path: Path) -> Paper:
    """One file of published tables."""
    from harness.config import validate
    from leaderboards.papers import Paper, parse

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', error)}") from error
    return validate(Paper, parse(text, str(path)), str(path))


# ---- formulas ------------------------------------------------------------------------------------------------------


def rules() -> Iterator[Rule]:
    """What follows from what: results before what is made of them, of one result the preferred formula first."""
    from metrics.vbench import aggregate
    from metrics.vbench2.suite import CATEGORIES, dimensions_of
    from metrics.vmbench.measures import KEYS, mean_of_five

    yield _rule("vbench", "quality", list(aggregate.QUALITY), aggregate.quality, "its seven dimensions")
    yield _rule("vbench", "semantic", list(aggregate.SEMANTIC), aggregate.semantic, "its nine dimensions")
    pair = ("quality", "semantic")
    yield _rule("vbench", "total", pair, lambda s: aggregate.combine(*(s[name] for name in pair)), "quality, semantic")
    yield _rule("vbench", "total", list(aggregate.DIMENSIONS), aggregate.total, "its sixteen dimensions")
    for category in CATEGORIES:
        yield _rule("vbench2", category, dimensions_of(category), _mean, "mean of its dimensions")
    yield _rule("vbench2", "total", CATEGORIES, _mean, "mean of five categories")
    yield _rule("vmbench", "mean", list(KEYS), mean_of_five, "mean of five measures")
    yield _rule("videoalign", "overall", ("vq", "mq", "ta"), lambda s: fsum(s.values()), "VQ + MQ + TA")


def _mean(scores: Mapping[str, float]) -> float:
    return fsum(scores.values()) / len(scores)


def _rule(
    family: str, target: str, inputs: Sequence[str], formula: Callable[[Mapping[str, float]], float], about: str
) -> Rule:
    """A rule whose formula takes the names without their family."""
    from leaderboards.formulas import Rule

    def value(scores: Mapping[str, float]) -> float:
        return formula({name.removeprefix(f"{family}/"): score for name, score in scores.items()})

    return Rule(f"{family}/{target}", tuple(f"{family}/{name}" for name in inputs), value, about)
