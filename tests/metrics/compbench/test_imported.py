"""The scripts' own tables as rows."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from harness.api import UserError
from metrics.compbench.imported import read_table

HERE = Path(__file__).parent
REPLIES = json.loads((HERE / "official_replies.json").read_text())


def table(path: Path, rows: list[dict[str, str]], last: str = "") -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
        if last:
            file.write(f"score: ,{last}\r\n")
    return path


def test_an_action_table_with_bad_replies(tmp_path: Path) -> None:
    rows = [case["row"] for case in REPLIES if case["category"] == "action_binding"][:8]  # the last two are bad
    rows = [{**row, "name": f"{number:04d}.png"} for number, row in enumerate(rows, 1)]
    found = read_table(table(tmp_path / "a.csv", rows, last=str((3 + 3 + 0 + 2 + 4 + 3) / 5 / 6)))
    assert found.category == "action_binding"
    assert [row["value"] for row in found.rows] == [0.6, 0.6, 0.0, 0.4, 0.8, 0.6, None, None]
    assert [row["clip"] for row in found.rows] == [f"{number:04d}" for number in range(1, 9)]
    assert found.rows[6]["error"] == "bad reply: no score in 'I cannot tell.'"
    assert found.notes == ("2 of 8 rows cannot be read",)  # the mean is that of the others, as in the file


def test_a_dynamic_table_whose_mean_holds_a_stale_number(tmp_path: Path) -> None:
    rows = [case["row"] for case in REPLIES if case["category"] == "dynamic_attribute" and "row" in case]
    rows = [rows[1], {**rows[12], "name": "0002"}]  # the second has a reply without a score
    stated = sum(float(row["Score"]) for row in rows) / 2
    found = read_table(table(tmp_path / "d.csv", rows, last=str(stated)))
    assert [row["value"] for row in found.rows] == [pytest.approx(0.32), None]
    assert found.notes == (
        "1 of 2 rows cannot be read", f"the file's mean is {stated:.6f}, its rows give 0.320000",
    )  # fmt: skip


def test_a_motion_table(tmp_path: Path) -> None:
    start = {"object_1": "ball", "d_1": "left", "object_2": "", "d_2": ""}
    rows = [{"id": f"000{n}", **start, "Score": said} for n, said in enumerate(("-1", "0", "0.25", "nan"))]
    found = read_table(table(tmp_path / "m.csv", rows, last=str((0 + 0.2 + 0.4) / 3)))
    assert (found.category, [row["value"] for row in found.rows]) == ("motion_binding", [0.0, 0.2, 0.4, None])
    assert found.notes == ("1 of 4 rows cannot be read",)


def test_a_table_cut_off_or_edited_by_hand(tmp_path: Path) -> None:
    head = "name,prompt,outputs_1,outputs_2,Score\n"
    (tmp_path / "a.csv").write_text(head + '0001,a,b,"{""score"": 4}",0.8\n0002,a,b\nscore: ,n/a\n')
    found = read_table(tmp_path / "a.csv")
    assert [row["value"] for row in found.rows] == [0.8, None]
    assert found.rows[1]["error"] == "bad reply: no score in ''"
    assert found.notes == ("1 of 2 rows cannot be read", "the file's mean is 'n/a', its rows give 0.800000")
    (tmp_path / "b.csv").write_text(head + '0001,a,b,"{""score"": 4}",0.8\n' * 2)
    with pytest.raises(UserError, match=r"b\.csv: clip 0001 comes more than once"):
        read_table(tmp_path / "b.csv")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"x\.csv: no table of action_binding, dynamic_attribute, motion_binding"):
        read_table(tmp_path / "x.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_table(tmp_path / "absent.csv")
