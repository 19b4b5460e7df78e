"""`mutoscope vbench`: totals, export, import and prompts."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.commands.vbench import export_folder, import_file, list_prompts, read_evaluated, show_totals
from harness.config import load_yaml
from harness.errors import UserError
from harness.prompts import read_prompts
from harness.samples import ClipSpec
from harness.store import read_json, write_json
from metrics.vbench.aggregate import DIMENSIONS, dimension_score, quality, semantic, total
from metrics.vbench.prompts import VBenchPrompts
from tests.metrics.vbench.evaluations import clip_rows, score_rows, write_evaluation
from tests.metrics.vbench.test_prompts import suite

T2V_TURBO_V2 = {  # table 11, with motion guidance: 85.13, 77.12, 83.52
    "subject_consistency": 95.50, "background_consistency": 96.71, "temporal_flickering": 97.35,
    "motion_smoothness": 97.07, "aesthetic_quality": 62.61, "dynamic_degree": 90.00, "imaging_quality": 71.78,
    "object_class": 95.33, "multiple_objects": 61.49, "human_action": 96.20, "color": 92.53,
    "spatial_relationship": 43.32, "scene": 56.40, "appearance_style": 24.17, "temporal_style": 27.06,
    "overall_consistency": 28.26,
}  # fmt: skip


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All prompts with one sample each, seven for the static filter."""
    clips = clip_rows(VBenchPrompts(VBenchPrompts.Config(samples=1, static_samples=7), ClipSpec()).rows())
    return write_evaluation(tmp_path_factory.mktemp('it\'s "my" model'), clips, score_rows(clips))


def last_cells(text: str) -> dict[str, str]:
    """Row name to last cell of a printed table."""
    rows = [
        [cell.strip() for cell in line.strip("│ ").split("│")] for line in text.splitlines() if line.startswith("│")
    ]
    return {cells[0]: cells[-1] for cells in rows}


def test_typed_scores(capsys: pytest.CaptureFixture[str]) -> None:
    assert show_totals([f"{name}={score}" for name, score in T2V_TURBO_V2.items()], percent=True) == 0
    cells = last_cells(capsys.readouterr().out)
    assert (cells["Quality"], cells["Semantic"], cells["Total"]) == ("85.13", "77.12", "83.52")
    assert cells["appearance style"] == "84.61"
    assert show_totals(["Imaging Quality=0.7178"], percent=False) == 3
    captured = capsys.readouterr().out
    assert last_cells(captured)["Total"] == "-"
    assert "15 of 16 dimensions have no score" in captured


@pytest.mark.parametrize(
    ("items", "problem", "remedy"),
    [
        (["color=0.5", "colour=0.5"], 'VBench has no dimension "colour"', 'did you mean "color"?'),
        (["color=0.5", "color=0.6"], "color comes twice", "give each dimension once"),
        (["color=x"], 'color: "x" is not a number', "for example imaging_quality=0.71"),
        (["color=92.5"], "color: 92.5 is out of range", "scores are fractions; with --percent, per cent"),
        (["color=nan"], "color: nan is out of range", "scores are fractions; with --percent, per cent"),
        (["color=0.5", "x"], '"x": expected a folder, a result file, or NAME=VALUE', "imaging_quality=0.71 ..."),
        (["gone"], "gone: no such file or folder", "or type the scores: subject_consistency=0.95 ..."),
    ],
)
def test_mistyped_scores(items: list[str], problem: str, remedy: str) -> None:
    with pytest.raises(UserError) as caught:
        show_totals(items, percent=False)
    assert (caught.value.problem, caught.value.remedy) == (problem, remedy)


def test_totals_of_a_folder(single: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_totals([str(single)], percent=False) == 0
    rows = read_evaluated(single).rows
    scores = {name: dimension_score(name, rows[name]).score or 0.0 for name in DIMENSIONS}
    cells = last_cells(capsys.readouterr().out)
    assert cells["Quality"] == f"{100 * quality(scores):.2f}"
    assert cells["Semantic"] == f"{100 * semantic(scores):.2f}"
    assert cells["Total"] == f"{100 * total(scores):.2f}"


def test_out_and_back_again(single: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export_folder(single, tmp_path / "out", "wan", zipped=False, incomplete=False) == 0
    assert export_folder(single, tmp_path / "wan.zip", None, zipped=True, incomplete=True) == 0
    results = tmp_path / "out" / "wan_eval_results.json"
    assert len(read_json(tmp_path / "out" / "wan_full_info.json")) == 946
    capsys.readouterr()
    show_totals([str(single)], percent=False)
    here = last_cells(capsys.readouterr().out)
    evaluators = set()
    for number, file in enumerate((results, tmp_path / "wan.zip")):
        back = tmp_path / f"back {number}"
        assert import_file(file, back) == 0
        assert last_cells(capsys.readouterr().out) == here
        imported = read_evaluated(back)
        assert imported.imported is not None
        assert imported.configs["color"] == {"imported": imported.imported["sha256"]}
        assert set(imported.rows) == set(DIMENSIONS)
        assert len(imported.clips) == len({clip["id"] for clip in imported.clips}) == 869 + 5 * 75 - unseen(single)
        evaluators |= {spec["fingerprint"] for spec in read_json(back / "metrics.json")}
        with pytest.raises(UserError, match="these scores were imported"):
            export_folder(back, tmp_path / "again", None, zipped=False, incomplete=False)
        with pytest.raises(UserError, match="there is something in it"):
            import_file(file, back)
    assert len(evaluators) == 2 * 16  # what comes from two files never meets in one ranking


def test_odd_files_are_imported_as_far_as_they_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What vbench 0.1.5 writes for a folder with a stray .json and no clips."""
    file = tmp_path / "nan_eval_results.json"
    file.write_text('{"temporal_flickering": [NaN, []], "color": [0.5, []]}')
    assert import_file(file, tmp_path / "back") == 0
    out = capsys.readouterr().out
    assert "temporal_flickering: the file's score is NaN" in out
    assert last_cells(out)["color"] == "50.00"
    assert "NaN" not in (tmp_path / "back" / "imported.json").read_text().replace("is NaN;", "")
    with pytest.raises(UserError, match="there is something in it"):
        import_file(file, file)


def unseen(folder: Path) -> int:
    """Clips of color in which the object is in no frame: VBench writes nothing of them."""
    return sum(row["note"] == "the object is in none of its frames" for row in read_evaluated(folder).rows["color"])


def test_what_is_incomplete_is_no_submission(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = clip_rows(VBenchPrompts(VBenchPrompts.Config(subset="mini"), ClipSpec()).rows())
    folder = write_evaluation(tmp_path / "mini", clips, score_rows(clips))
    with pytest.raises(
        UserError, match="not for VBench's leaderboard: subject_consistency: 5 of 360 clips; "
    ) as caught:
        export_folder(folder, tmp_path / "mini.zip", None, zipped=True, incomplete=False)
    assert "--incomplete" in caught.value.remedy
    assert not (tmp_path / "mini.zip").exists()
    assert export_folder(folder, tmp_path, None, zipped=True, incomplete=True) == 0
    assert (tmp_path / "mini.zip").exists()
    rows = score_rows(clips)
    rows["scene"][-7] |= {"value": None, "note": "", "error": "boom"}
    failed = write_evaluation(tmp_path / "failed", clips, rows)
    assert export_folder(failed, tmp_path / "f", None, zipped=False, incomplete=False) == 3
    assert "left out: scene: 1 clips have no score" in capsys.readouterr().out
    assert "scene" not in read_json(tmp_path / "f" / "failed_eval_results.json")


def test_a_run_cell_is_an_evaluation_too(single: Path, tmp_path: Path) -> None:
    cell = tmp_path / "seed0"
    shutil.copytree(single, cell)
    specs = read_json(cell / "metrics.json")
    (cell / "metrics.json").unlink()
    write_json(cell / "cell.json", {"row": "base", "metrics": specs})
    assert read_evaluated(cell).rows == read_evaluated(single).rows


def test_folders_that_are_no_evaluation(single: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no evaluation in it"):
        read_evaluated(tmp_path)
    write_json(tmp_path / "metrics.json", [])
    with pytest.raises(UserError, match="no VBench dimension was evaluated"):
        read_evaluated(tmp_path)
    specs = read_json(single / "metrics.json")
    write_json(tmp_path / "metrics.json", [*specs, {**specs[0], "fingerprint": "cd" * 32}])
    with pytest.raises(UserError, match="evaluated in two ways"):
        read_evaluated(tmp_path)


def test_prompts_can_be_listed_and_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list_prompts(["color"], "mini", None) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["a red bicycle", "a black car"]
    assert list_prompts([], "standard", tmp_path / "all.txt") == 0
    assert len((tmp_path / "all.txt").read_text(encoding="utf-8").splitlines()) == 944
    list_prompts(["scene"], "standard", tmp_path / "scene.csv")
    rows = list(csv.DictReader((tmp_path / "scene.csv").open(encoding="utf-8")))
    assert len(rows) == 86
    assert json.loads(rows[0]["auxiliary_info"]) == {"scene": {"scene": {"scene": "alley"}}}
    with pytest.raises(UserError, match=r"cannot be written as \.doc"):
        list_prompts([], "mini", tmp_path / "x.doc")
    with pytest.raises(UserError) as caught:
        list_prompts(["scenes"], "mini", None)
    assert caught.value.remedy == 'did you mean "scene"?'


def test_saved_prompts_are_a_suites_prompts(tmp_path: Path) -> None:
    list_prompts([], "mini", tmp_path / "mini.json")
    saved = read_prompts(suite({"file": str(tmp_path / "mini.json")}))
    assert saved == read_prompts(suite({"dataset": {"name": "vbench", "subset": "mini"}}))


def test_shipped_suites_are_consistent() -> None:
    from harness.suite import shipped

    found: dict[str, Any] = {name: load_yaml(path) for name, path in shipped().items() if name.startswith("vbench-")}
    assert set(found) == {"vbench-standard", "vbench-quality", "vbench-mini"}
    subsets = {name: item["prompts"]["dataset"].get("subset", "standard") for name, item in found.items()}
    assert subsets == {"vbench-standard": "standard", "vbench-quality": "quality-only", "vbench-mini": "mini"}
    assert len({json.dumps([item["generate"], item["clip"], item["backbone"]]) for item in found.values()}) == 1
