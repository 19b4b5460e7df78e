"""The shipped tables: all of them are there, with every number as printed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import leaderboards
from harness.commands.audit import read_paper, rules
from leaderboards.formulas import known
from leaderboards.papers import Paper, lines
from leaderboards.printed import printed
from metrics.vbench.aggregate import DIMENSIONS

FOLDER = Path(leaderboards.__path__[0]) / "published"
PAPERS = {path.stem: read_paper(path) for path in sorted(FOLDER.glob("*.yaml"))}
KNOWN = known(list(rules()))
ROWS = {  # by table: rows, printed numbers
    "tqd": {"1": (14, 84), "2": (4, 8), "3": (4, 24), "4": (10, 20), "5": (4, 24)},
    "ltd": {"1": (9, 72), "2": (3, 24)},
    "t2v_turbo_v2": {
        "1": (9, 27), "2": (10, 30), "3": (8, 24), "4": (2, 12), "5": (3, 57), "6": (2, 38), "7": (2, 38),
        "8": (10, 190), "9": (8, 152), "10": (4, 76), "11": (8, 152), "12": (14, 42),
    },
    "msm": {"1": (4, 12)},
    "avd": {"1": (12, 108), "2": (6, 12)},
}  # fmt: skip


def cells(paper: str, table: str, row: str, part: str = "") -> dict[str, str]:
    """Printed text by metric."""
    (found,) = (
        line
        for each in PAPERS[paper].tables
        if (each.table, each.part) == (table, part)
        for line in lines(each, KNOWN)
        if line.label == row
    )
    return {name: cell.printed.text for name, cell in found.cells.items()}


def test_every_table_of_the_five_papers_is_there() -> None:
    assert PAPERS.keys() == ROWS.keys()
    for name, tables in ROWS.items():
        rows, numbers = Counter[str](), Counter[str]()
        for table in PAPERS[name].tables:
            for line in lines(table, KNOWN):
                rows[table.table] += 1
                numbers[table.table] += len(line.cells)
        assert {table: (rows[table], numbers[table]) for table in rows} == tables


@pytest.mark.parametrize(
    ("paper", "table", "row", "numbers"),
    [
        ("tqd", "1", "Wan 1.3B, Set-C: TQD", {"vbench/imaging_quality": "0.7556", "videoalign/mq": "2.2200"}),
        (
            "tqd",
            "2",
            "TQD (Ours)",
            {"videophy2/semantic_adherence": "3.820", "videophy2/physical_commonsense": "3.843"},
        ),
        ("tqd", "4", "CogVideoX: 20", {"videoalign/mq": "2.2345", "videoalign/vq": "3.2570"}),
        ("tqd", "4", "Wan: 50", {"videoalign/mq": "2.2378", "videoalign/vq": "3.3089"}),
        ("tqd", "5", "TQD (20% noise)", {"vbench/dynamic_degree": "0.6012", "vbench/motion_smoothness": "0.9928"}),
        ("ltd", "2", "w/o LTD Loss", {"vbench/subject_consistency": "96.00", "vbench/quality": "83.52"}),
        ("t2v_turbo_v2", "1", "Pika", {"vbench/quality": "82.92", "vbench/semantic": "71.77", "vbench/total": "80.69"}),
        ("t2v_turbo_v2", "4", "T2V-Turbo-v2: w/ MG", {"t2v-compbench/motion_binding": "24.38"}),
        ("t2v_turbo_v2", "8", "VCM: OV + WV", {"vbench/multiple_objects": "3.99", "vbench/scene": "5.94"}),
        ("t2v_turbo_v2", "9", "CLIP: + InternV2", {"vbench/total": "82.04", "vbench/overall_consistency": "28.36"}),
        ("t2v_turbo_v2", "11", "T2V-Turbo-v2: w/ MG", {"vbench/human_action": "96.2", "vbench/scene": "56.4"}),
        ("t2v_turbo_v2", "12", "VCM: OV + VG + WV", {"vbench/quality": "82.95", "vbench/semantic": "54.98"}),
        ("msm", "1", "Stage 3 Ours", {"cdfvd": "187.62", "trajan/average_jaccard": "0.5487"}),
        (
            "avd",
            "1",
            "Ours (ours-14b)",
            {"vbench2/physics": "58.13", "vbench2/total": "59.06", "vbench/total": "82.57"},
        ),
        ("avd", "2", "DMD", {"instance_preservation@vbench2-master": "88.88", "vbench/dynamic_degree": "72.22"}),
    ],
)
def test_numbers_are_those_printed(paper: str, table: str, row: str, numbers: dict[str, str]) -> None:
    assert cells(paper, table, row).items() >= numbers.items()


def test_the_halves_of_a_table_are_one_row() -> None:
    row = cells("t2v_turbo_v2", "11", "Gen-3")
    assert row.keys() == {f"vbench/{name}" for name in (*DIMENSIONS, "quality", "semantic", "total")}
    assert (row["vbench/total"], row["vbench/appearance_style"]) == ("82.32", "24.31")


def test_parts_of_a_table_differ_in_their_prompts() -> None:
    row = cells("ltd", "1", "Ours", "VMBench-prompt")
    assert (row["vbench/dynamic_degree"], row["vbench/temporal_flickering"]) == ("78.10", "80.36")
    assert cells("ltd", "1", "Ours", "VBench-prompt")["vbench/dynamic_degree"] == "68.06"


def test_directions_are_the_papers_own() -> None:
    better = {c.name: c.better for table in PAPERS["msm"].tables for c in table.columns}
    assert better == {"CD-FVD": "lower", "JACCARD": "lower", "Occlusion Accuracy": "lower"}
    assert {c.better for table in PAPERS["ltd"].tables for c in table.columns} == {"higher"}
    assert {c.better for table in PAPERS["avd"].tables for c in table.columns} == {None}  # not stated


def test_numbers_put_right_say_so() -> None:
    notes = {row.model: row.note for row in PAPERS["avd"].tables[0].rows if row.note}
    restored = [text for note in notes.values() for text in note.split(" of ")[-1].split(", ")]
    assert sorted(restored) == ["4040", "4353", "4449", "4482", "4740", "5048", "5248", "8148", "8298"]
    assert notes.keys() == {
        "lcm-1.3b", "pcm-1.3b", "rcm-1.3b", "ours-1.3b", "dmd-14b", "lcm-14b", "dcm-14b",
    }  # fmt: skip
    assert "97.717" in PAPERS["avd"].tables[1].rows[-1].note


def test_units_and_names_are_known() -> None:
    families = ("vbench/", "vbench2/", "videoalign/", "videophy2/", "t2v-compbench/", "trajan/")
    for paper in PAPERS.values():
        for table in paper.tables:
            for column in table.columns:
                assert column.unit or table.unit
                words = column.unit == "text" or column.metric in ("cdfvd", "instance_preservation@vbench2-master")
                assert words or column.metric.startswith(families), column
                assert not column.metric.startswith("vbench/") or column.metric in KNOWN


def test_a_number_stands_for_what_rounds_to_it() -> None:
    number = printed(" 82.20 % ")
    assert number is not None
    assert (number.text, number.decimals, number.value) == ("82.20", 2, 82.2)
    assert (number.low, number.high) == pytest.approx((82.195, 82.205), abs=1e-12)
    for absent in ("-", "", "n/a", "–"):
        assert printed(absent) is None
    with pytest.raises(ValueError, match='"1e-3" is not a number'):
        printed("1e-3")
    with pytest.raises(ValueError, match="has 3 decimals, the table states 2"):
        printed("0.123", 2)


def test_titles_and_sources() -> None:
    named: dict[str, Paper] = PAPERS
    assert {name: paper.arxiv for name, paper in named.items()} == {
        "tqd": "2603.25527", "ltd": "", "t2v_turbo_v2": "2410.05677", "msm": "", "avd": "2603.21864",
    }  # fmt: skip
