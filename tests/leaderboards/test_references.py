"""Published rows beside measured ones: which, with which numbers, marked everywhere, ranked nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.suite import load, shipped
from leaderboards import references
from leaderboards.notes import notes
from leaderboards.rank import Leaderboard, frame, pareto, table
from leaderboards.show import latex, markdown
from tests.leaderboards.runs import M, write_cell, write_suite

DYNAMIC, TOTAL = M("vbench/dynamic_degree"), M("vbench/total", level="summary")
OWN = """\
paper: My report
tables:
  - table: A
    rows:
      - {name: old, scores: {dynamic_degree: 0.5}}
beside:
  - {suite: quick, table: A, rows: {old: last year's}, note: other prompts}
"""


def make(root: Path, name: str) -> Leaderboard:
    folder = write_suite(root, ["base", "dmd"], [DYNAMIC, TOTAL], 12, name=name)
    write_cell(folder, "base", {DYNAMIC: [0.2 + 0.01 * i for i in range(12)], TOTAL: [0.80]})
    write_cell(folder, "dmd", {DYNAMIC: [0.7 + 0.01 * i for i in range(12)], TOTAL: [0.81]})
    return table(folder)


def numbers(name: str, *metrics: str) -> dict[str, dict[str, str]]:
    """Row -> metric -> text, for a suite that has these metrics."""
    suite = {"name": name, "metrics": [{"name": metric} for metric in metrics]}
    found = references.of_suite(suite, Path("nowhere") / name)
    return {row.name: {metric: quote.text for metric, quote in row.quotes.items()} for row in found}


def test_each_papers_suite_has_its_rows() -> None:
    assert numbers("avd-wan21-1.3b", "vbench/total", "vbench/dynamic_degree") == {
        "teacher": {"vbench/total": "0.8013", "vbench/dynamic_degree": "0.8556"},
        "DMD": {"vbench/total": "0.8066", "vbench/dynamic_degree": "0.7222"},
        "AVD + VIF": {"vbench/total": "0.8135", "vbench/dynamic_degree": "0.9777"},
        "DMD + TR": {"vbench/dynamic_degree": "1.0000"},
        "DMD + TR + Reg": {"vbench/dynamic_degree": "0.7861"},
        "AVD w/o VIF": {"vbench/dynamic_degree": "0.9972"},
    }
    assert numbers("msm-wan21-1.3b", "cdfvd", "trajan/average_jaccard") == {
        "stage 1 DMD": {"cdfvd": "171.81", "trajan/average_jaccard": "0.6393"},
        "stage 1 MSM": {"cdfvd": "143.12", "trajan/average_jaccard": "0.6181"},
    }
    assert numbers("ltd-wan21-1.3b", "vbench/quality") == {
        "Wan2.1": {"vbench/quality": "0.8376"},
        "w/o LTD loss": {"vbench/quality": "0.8352"},
        "w/ LTD loss": {"vbench/quality": "0.8511"},
    }
    assert numbers("tqd-wan21-1.3b", "vbench/dynamic_degree", "videoalign/mq") == {  # printed MQ is another scale
        "Wan 1.3B": {"vbench/dynamic_degree": "0.5938"},
        "baseline": {"vbench/dynamic_degree": "0.5312"},
        "TQD": {"vbench/dynamic_degree": "0.6384"},
    }
    assert numbers("tqd-cogvideox-5b", "vbench/dynamic_degree")["TQD"] == {"vbench/dynamic_degree": "0.7723"}
    assert numbers("t2v-turbo-v2-videocrafter2", "vbench/total") == {
        "VideoCrafter2": {"vbench/total": "0.8044"}, "v2 w/o MG": {"vbench/total": "0.8293"},
        "v2 w/ MG": {"vbench/total": "0.8352"}, "VCM": {"vbench/total": "0.7849"},
    }  # fmt: skip
    assert numbers("quick", "vbench/total") == {}


def test_shipped_files_name_shipped_suites() -> None:
    named = {
        beside.suite
        for path in references.files(Path("nowhere/suite"))
        for beside in references.read_paper(path, path.read_text(encoding="utf-8")).beside
    }
    assert named <= set(shipped())
    papers = {name for name in shipped() if load(name).backbone.get("path") != "embedded"} - {
        "vbench-mini", "vbench-quality",
    }  # fmt: skip
    assert named == papers


def test_shown_and_marked_never_ranked(tmp_path: Path) -> None:
    board = make(tmp_path, "avd-wan21-1.3b")
    assert [entry.label for entry in board.entries] == ["dmd", "base"]
    assert all(contest.labels == ("base", "dmd") for contest in board.contests.values())
    assert {place.rank for (_, key), place in board.values.items() if key == DYNAMIC.name} == {1, 2}
    assert pareto(board, board.columns[0], "generate_s") == ("dmd",)

    text = markdown(board)
    assert "| *† teacher (AVD)* | *0.8556* | *0.8013* |" in text
    assert "| *† DMD + TR (AVD)* | *1.0000* |  |" in text
    assert text.index("| *† teacher") > text.index("| base |")
    told = "† published, not measured here, not ranked: teacher, DMD, AVD + VIF (AVD, arXiv 2603.21864, tables 1 and 2)"
    assert told in notes(board)
    assert "$\\dagger$ teacher (AVD) & $0.8556$ & $0.8013$ \\\\" in latex(board)
    assert "$\\dagger$ DMD + TR (AVD) & $1.0000$ & -- \\\\" in latex(board)

    found = frame(board)
    published = found[found["status"] == "published"]
    assert published["rank"].isna().all()
    assert list(published.iloc[0][["row", "metric", "mean", "source"]]) == [
        "† teacher (AVD)", "vbench/dynamic_degree", 0.8556, "AVD, arXiv 2603.21864, tables 1 and 2",
    ]  # fmt: skip
    assert found[found["status"] == "complete"]["source"].isna().all()


def test_the_users_own_file_beside_the_runs(tmp_path: Path) -> None:
    own = tmp_path / "published" / "mine.yaml"
    own.parent.mkdir()
    own.write_text(OWN)
    before = references.digest("quick", tmp_path / "quick@01234567")
    (row,) = make(tmp_path, "quick").references
    assert (row.label, row.source, row.note) == ("† last year's (My report)", "My report, table A", "other prompts")
    assert row.quotes[DYNAMIC.name].text == "0.5"
    own.write_text(OWN.replace("0.5}", "0.6}"))
    assert references.digest("quick", tmp_path / "quick@01234567") != before
    own.write_text(OWN.replace("{old: last", "{odl: last"))
    with pytest.raises(UserError, match='beside quick: table A has no row "odl"'):
        table(tmp_path / "quick@01234567")
    own.write_text(OWN.replace("rows:\n", "row:\n"))
    with pytest.raises(UserError, match="not a file of published tables") as told:
        table(tmp_path / "quick@01234567")
    assert told.value.remedy == f"what is wrong: mutoscope audit {own}"
