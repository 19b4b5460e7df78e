"""The audit: exactly the rows that fail, how far off, and why; anything a user feeds it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness import cli
from harness.commands.audit import EXAMPLE, _paths, read_paper, rules
from harness.errors import UserError
from leaderboards.audit import Audited, Report, audit
from leaderboards.causes import explain
from leaderboards.formulas import Rule, Share, add_up, checks, known, share
from leaderboards.papers import Cell, Line, lines
from leaderboards.printed import Printed

RULES = list(rules())
Run = Callable[..., tuple[int, str, str]]

FAILING = {  # (paper, table, row): result -> printed minus recomputed
    ("AVD", "1", "PCM[57]"): {"total": -0.068},
    ("AVD", "1", "DCM[37]"): {"total": 0.072},
    ("AVD", "1", "DCM"): {"total": -0.012},
    ("LTD", "1, VBench-prompt", "CogVideoX [2]"): {"quality": -0.7502},
    ("LTD", "1, VBench-prompt", "OpenSora [3]"): {"quality": -1.9580},
    ("LTD", "1, VMBench-prompt", "Wan2.1 (Base) [5]"): {"quality": 9.2605},
    ("LTD", "1, VMBench-prompt", "Ours"): {"quality": 6.7031},
    ("T2V-Turbo-v2", "2", "VCM: OV"): {"total": -0.762},
    ("T2V-Turbo-v2", "8", "VCM: OpenVid"): {"total": -0.762},
    ("T2V-Turbo-v2", "11", "Kling"): {"quality": 1.1023, "total": 0.8848},
    ("T2V-Turbo-v2", "12", "VCM: OV"): {"total": -0.762},
}
CAUSES = {
    ("AVD", "1", "PCM[57]"): 'quality exchanged with row "DCM[37]"',
    ("AVD", "1", "DCM[37]"): 'quality exchanged with row "PCM[57]"',
    ("AVD", "1", "DCM"): "one digit: total 75.74 for 75.73",
    ("T2V-Turbo-v2", "11", "Kling"): (
        "aesthetic_quality and dynamic_degree swapped; 46.94 is 169 of 360 videos, 61.21 is no such share"
    ),
}


@pytest.fixture(scope="module")
def shipped() -> Report:
    return audit([read_paper(path) for path in _paths(())], RULES)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command line in this process; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["mutoscope", "audit", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return (code, *capsys.readouterr())

    return call


@pytest.fixture
def user(tmp_path: Path) -> Callable[[str], tuple[Audited, ...]]:
    """Audit a user's file."""

    def call(text: str) -> tuple[Audited, ...]:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return audit([read_paper(path)], RULES).rows

    return call


def place(row: Audited) -> tuple[str, str, str]:
    return row.paper, row.table, row.row


def short(deviations: Audited) -> dict[str, float]:
    return {check.target.partition("/")[2]: check.deviation for check in deviations.failed}


# ---- the five papers -----------------------------------------------------------------------------------------------


def test_exactly_these_rows_fail(shipped: Report) -> None:
    assert {place(row) for row in shipped.failing} == FAILING.keys()
    for row in shipped.failing:
        assert short(row) == pytest.approx(FAILING[place(row)], abs=6e-4), row.row
    verdicts = [row.verdict for row in shipped.rows]
    assert {verdict: verdicts.count(verdict) for verdict in verdicts} == {
        "adds up": 91, "does not add up": 11, "nothing to recompute": 48,
    }  # fmt: skip


def test_causes_are_named_where_one_change_explains_the_row(shipped: Report) -> None:
    found = {place(row): row.causes for row in shipped.failing if row.causes}
    assert found == {row: (cause,) for row, cause in CAUSES.items()}


def test_a_total_that_does_not_follow_is_checked_against_its_own_scores_first(shipped: Report) -> None:
    """Kling's total fits its printed quality and semantic, not its dimensions; VCM's on OpenVid fits neither."""
    rows = {place(row): {(check.target, check.about): check.ok for check in row.checks} for row in shipped.failing}
    assert rows["T2V-Turbo-v2", "11", "Kling"] == {
        ("vbench/quality", "its seven dimensions"): False,
        ("vbench/semantic", "its nine dimensions"): True,
        ("vbench/total", "quality, semantic"): True,
        ("vbench/total", "its sixteen dimensions"): False,
    }
    assert rows["T2V-Turbo-v2", "8", "VCM: OpenVid"] == {
        ("vbench/quality", "its seven dimensions"): True,
        ("vbench/semantic", "its nine dimensions"): True,
        ("vbench/total", "quality, semantic"): False,
    }


def test_claims_that_the_tables_do_not_bear_out(shipped: Report) -> None:
    assert [(r.paper, r.where, r.text.rpartition('": ')[2]) for r in shipped.remarks if r.kind == "claim"] == [
        ("LTD", "abstract", "quality 83.76 to 85.11 is +1.35, or +1.61 %"),
        ("T2V-Turbo-v2", "abstract", "total is 83.52; 85.13 is its quality"),
        ("T2V-Turbo-v2", "4.2", "quality is 83.62"),
        ("T2V-Turbo-v2", "4.2", "semantic 61.93 to 68.73 is +6.80"),
        ("TQD", "4.2", "vq is 3.2499 against 3.2593"),
        ("TQD", "4.2", "vq is 3.2570 against 3.2593"),
    ]
    assert any("3.31% on VBench" in r.text for r in shipped.remarks)
    assert not any("3.58%" in r.text for r in shipped.remarks)  # 77.27 to 80.85


def test_numbers_that_differ_between_tables(shipped: Report) -> None:
    found = [r.text for r in shipped.remarks if r.kind == "repeat"]
    assert [text.partition(" is ")[0] for text in found] == [
        "quality", "semantic", "total", "human_action", "human_action", "spatial_relationship",
    ]  # fmt: skip
    assert found[2] == 'total is 80.69 for "Pika" of table 1; 80.40 for "Pika" of table 11'
    assert found[5] == 'spatial_relationship is 38.56 for "4" of table 5; 38.55 for "T2V-Turbo-v2" of table 6'
    assert "97.17 for" in found[3]
    assert "94.40 for" in found[3]


def test_shares_of_videos(shipped: Report) -> None:
    found = {r.text.partition(";")[0].partition(" ")[2]: r.where for r in shipped.remarks if r.kind == "share"}
    cut = [text.split(":")[0] for text in found if "cut off" in text]
    assert cut == ["92.39", "88.88", "97.77"]
    impossible = [text.split(":")[0] for text in found if "no share" in text]
    assert impossible == [
        "59.86", "20.74", "47.72", "97.17", "97.35", "60.14", "61.21", "0.5224", "0.5447", "0.6340", "0.6251", "0.6012",
    ]  # fmt: skip
    assert [r.kind for r in shipped.remarks].count("range") == 0


@pytest.mark.parametrize(
    ("text", "videos", "count", "state"),
    [
        ("46.94", 360, 169, "rounded"), ("61.21", 360, 220, "impossible"), ("92.39", 171, 158, "cut"),
        ("85.38", 171, 146, "rounded"), ("83.04", 171, 142, "rounded"), ("91.81", 171, 157, "rounded"),
        ("100.00", 360, 360, "rounded"), ("0.00", 360, 0, "rounded"), ("99.72", 360, 359, "rounded"),
    ],
)  # fmt: skip
def test_share(text: str, videos: int, count: int, state: str) -> None:
    found = share(Cell(Printed(text, 2), "percent"), videos)
    assert (found.count, found.state) == (count, state)
    assert share(number("0.5"), 9) == Share(5, "cut")  # 0.556, though 4 of 9 is as near


# ---- the rule ------------------------------------------------------------------------------------------------------


def number(text: str) -> Cell:
    return Cell(Printed(text, len(text.partition(".")[2])), "fraction")


def mean_of(target: str, *inputs: str) -> Rule:
    def value(scores: Mapping[str, float]) -> float:
        return sum(scores.values()) / len(scores)

    return Rule(target, inputs, value, "mean")


def test_a_row_adds_up_if_some_true_values_do() -> None:
    rule = [mean_of("t", "a", "b")]
    for text, ok in (("0.50", True), ("0.51", True), ("0.49", True), ("0.52", False), ("0.48", False), ("0.5", True)):
        assert add_up({"a": number("0.40"), "b": number("0.60"), "t": number(text)}, rule) is ok, text
    (check,) = checks({"a": number("0.40"), "b": number("0.60"), "t": number("0.52")}, rule)
    assert (check.recomputed, check.low, check.high) == pytest.approx((0.5, 0.495, 0.505))
    assert check.deviation == pytest.approx(0.02)


def test_a_confirmed_result_enters_the_next_formula_with_what_its_inputs_leave_open() -> None:
    """q printed as 1.0 could be 0.96, but its inputs say 1.035 to 1.045: t = 0.98 cannot be (q + c) / 2."""
    chain = [mean_of("q", "a", "b"), mean_of("t", "q", "c")]
    row = {"a": number("1.04"), "b": number("1.04"), "q": number("1.0"), "c": number("1.00"), "t": number("0.98")}
    assert [check.ok for check in checks(row, chain)] == [True, False]
    assert add_up({name: cell for name, cell in row.items() if name not in "ab"}, chain)
    assert add_up({**row, "t": number("1.02")}, chain)


def test_stated_decimals_bring_dropped_zeros_back(user: Callable[[str], tuple[Audited, ...]]) -> None:
    loose = "paper: p\ntables:\n  - table: '1'\n    unit: percent\n    rows:\n      - {name: a, scores: {%s}}\n"
    numbers = "total: 74.5, quality: 80.0, semantic: 52.3"  # 74.46, so 74.5 only to one decimal
    (row,) = user(loose % numbers)
    assert row.verdict == "adds up"
    (row,) = user((loose % numbers).replace("unit: percent", "unit: percent\n    decimals: 2"))
    assert short(row) == pytest.approx({"total": 0.04})


# ---- a user's file -------------------------------------------------------------------------------------------------


def test_the_example_adds_up(user: Callable[[str], tuple[Audited, ...]]) -> None:
    (row,) = user(EXAMPLE)
    assert row.verdict == "adds up"
    assert {check.target: round(check.recomputed, 3) for check in row.checks} == {
        "vbench/quality": 83.924, "vbench/semantic": 75.975, "vbench/total": 82.338,
    }  # fmt: skip


def test_the_readmes_form_adds_up_and_its_claim_holds(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (_paths(())[0].parent / "README.md").read_text(), flags=re.DOTALL)
    path = tmp_path / "mine.yaml"
    path.write_text(block)
    report = audit([read_paper(path)], RULES)
    assert [row.verdict for row in report.rows] == ["adds up", "adds up"]
    assert report.remarks == ()


def test_fractions_are_the_same_as_per_cent(user: Callable[[str], tuple[Audited, ...]]) -> None:
    fractions = [
        f"{line.partition(':')[0]}: {float(line.partition(':')[2]) / 100:.4f}"
        if line.startswith("          ")
        else line
        for line in EXAMPLE.splitlines()
    ]
    for unit in ("    unit: fraction", ""):
        text = "\n".join(unit if line.startswith("    unit:") else line for line in fractions)
        (row,) = user(text)
        assert row.verdict == "adds up"
        assert row.checks[0].recomputed == pytest.approx(0.83924, abs=1e-5)
    (row,) = user("\n".join(fractions))  # says per cent
    assert row.causes == ("the row is in fractions",)
    (row,) = user(EXAMPLE.replace("unit: percent", "unit: fraction"))
    assert row.causes == ("the row is in per cent",)


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("61.52", "0.6152", "aesthetic_quality is a fraction, unlike the rest"),
        ("total: 82.34", "total: 92.34", "one digit: total 82.34 for 92.34"),
        ("quality: 83.93", "quality: 89.33", "two digits swapped: quality 83.93 for 89.33"),
        ("54.91", "45.91", "two digits swapped: multiple_objects 54.91 for 45.91"),
    ],
)
def test_one_change_is_found(user: Callable[[str], tuple[Audited, ...]], old: str, new: str, cause: str) -> None:
    (row,) = user(EXAMPLE.replace(old, new))
    assert row.verdict == "does not add up"
    assert cause in row.causes


def test_any_two_swapped_numbers_are_found_or_change_nothing() -> None:
    """All swaps of one row. Those of numbers with the same weight and range leave every total as it was."""
    paper = read_paper(next(path for path in _paths(()) if path.stem == "t2v_turbo_v2"))
    line = next(x for table in paper.tables if table.table == "11" for x in lines(table, known(RULES)))
    some = "subject_consistency motion_smoothness aesthetic_quality imaging_quality dynamic_degree object_class color"
    names = [name for name in line.cells if name.rpartition("/")[2] in (*some.split(), "scene")]
    silent = 0
    for at, one in enumerate(names):
        for two in names[at + 1 :]:
            first, second = line.cells[one], line.cells[two]
            swapped = {
                **line.cells,
                one: replace(first, printed=second.printed),
                two: replace(second, printed=first.printed),
            }
            if add_up(swapped, RULES):
                silent += 1
                continue
            wrong = Line(line.table, line.row, line.label, swapped, ())
            wanted = f"{one.rpartition('/')[2]} and {two.rpartition('/')[2]} swapped"
            assert any(wanted in cause for cause in explain(wrong, [wrong], RULES)), wanted
    assert silent == 2  # aesthetic and imaging quality, object class and color


def test_nothing_to_recompute_is_said(user: Callable[[str], tuple[Audited, ...]]) -> None:
    form = "paper: p\ntables:\n  - table: '1'\n    rows:\n      - {name: a, scores: {%s}}\n"
    (row,) = user(form % "total: 82.34")
    assert (row.verdict, row.missing) == (
        "nothing to recompute",
        {"vbench/total": ["vbench/quality", "vbench/semantic"]},
    )
    (row,) = user(form % "my_score: 3.2")
    assert (row.verdict, row.missing, row.unknown) == ("nothing to recompute", {}, ("my_score",))
    seven = [line.strip() for line in EXAMPLE.splitlines()[10:17]]
    (row,) = user(form % ", ".join(["quality: 83.93", *seven[:-1], "image_quality: 72.77"]))
    assert row.missing == {"vbench/quality": ["vbench/imaging_quality"]}
    assert row.unknown == ("image_quality",)
    (row,) = user(form % ", ".join(seven))
    assert row.derived == pytest.approx({"vbench/quality": 83.9236}, abs=1e-4)


def test_other_columns_printed_names_and_gaps_do_no_harm(user: Callable[[str], tuple[Audited, ...]]) -> None:
    (row,) = user("""
paper: p
tables:
  - table: 3
    unit: percent
    columns: [Total Score, "Quality Score (%)", Semantic Score, {name: Params, unit: text}, FVD, Note]
    rows:
      - {name: a, scores: [82.34%, 83.93, 75.97, 1.3B, 212.5, -]}
""")
    assert row.verdict == "adds up"
    assert row.unknown == ("FVD",)
    assert row.checks[0].recomputed == pytest.approx(82.338)


def test_other_benchmarks(user: Callable[[str], tuple[Audited, ...]]) -> None:
    """OpenSora 1.2 on VMBench: (31.2 + 61.9 + 73.0 + 3.4 + 88.5) / 5, the published mean of all five."""
    form = "paper: p\ntables:\n  - {table: 1, benchmark: %s, unit: %s, rows: [{name: a, scores: {%s}}]}\n"
    five = "cas: 31.2, mss: 61.9, ois: 73.0, pas: 3.4, tcs: 88.5"
    (row,) = user(form % ("vmbench", "percent", f"mean: 51.6, {five}"))
    assert row.verdict == "adds up"
    (row,) = user(form % ("vmbench", "percent", f"mean: 63.7, {five}"))  # without perceptible amplitude
    assert short(row) == pytest.approx({"mean": 12.1})
    rewards = "vq: 3.24, mq: 2.14, ta: 1.12"
    (row,) = user(form % ("videoalign", "points", f"overall: 6.52, {rewards}"))
    assert row.verdict == "adds up"
    (row,) = user(form % ("videoalign", "points", f"overall: 6.53, {rewards}"))
    assert short(row) == pytest.approx({"overall": 0.03})
    four = "mechanics: 60, thermotics: 50, material: 40, multi_view_consistency: 50"
    (row,) = user(form % ("vbench2", "percent", f"physics: 52.0, {four}"))
    assert short(row) == pytest.approx({"physics": 2.0})


@pytest.mark.parametrize(
    ("old", "new", "problem", "remedy"),
    [
        ("82.34", "8z.34", 'total: "8z.34" is not a number', "write it as printed"),
        ("unit: percent", "units: percent", "tables.0.units: unknown key", ""),
        ("unit: percent", "unit: per cent", "tables.0.unit: Input should be", ""),
        ("          quality:", "          total:", '"total" comes twice', ""),
        ("          quality:", "          Total Score:", "vbench/total comes twice", "name one otherwise"),
        ("      - name: My model", "      - nmae: My model", "tables.0.rows.0.name: missing", ""),
        ("tables:", "table:", "tables: missing", ""),
        ("paper:", "- paper:", "not YAML", ""),
    ],
)
def test_bad_input_is_one_line_and_a_way_out(
    run: Run, tmp_path: Path, old: str, new: str, problem: str, remedy: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(EXAMPLE.replace(old, new, 1))
    code, out, err = run(path)
    assert (code, out) == (2, "")
    assert problem in err
    assert remedy in err
    assert "Traceback" not in err


def test_lists_must_fit_their_columns(user: Callable[[str], tuple[Audited, ...]]) -> None:
    with pytest.raises(UserError, match='row "a": 2 numbers for 1 columns'):
        user("paper: p\ntables:\n  - {table: 1, columns: [total], rows: [{name: a, scores: [1.0, 2.0]}]}\n")


def test_claims_and_repeats_of_a_user_are_checked(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("""
paper: p
tables:
  - table: "1"
    unit: percent
    columns: [total, {name: dynamic_degree, videos: 72}]
    rows:
      - {name: base, model: b, scores: [80.00, 50.00]}
      - {name: ours, scores: [84.00, 50.50]}
      - {name: base again, model: b, scores: [80.01, 101.00]}
claims:
  - {text: "5 % better", how: relative, states: "5.0", metrics: [total], of: &ours {table: 1, row: ours},
     over: &base {table: 1, row: base}}
  - {text: "6 % better", how: relative, states: "6", metrics: [total], of: *ours, over: *base}
  - {text: "better than itself", how: higher, metrics: [total], of: *base, over: *base}
""")
    code, out, _ = run(path)
    assert code == 0
    assert '"6 % better": total 80.00 to 84.00 is +5.00 %' in out
    assert '"better than itself": total is 80.00 against 80.00' in out
    assert "5 % better" not in out.replace('"6 % better"', "")
    assert 'total is 80.00 for "base" of table 1; 80.01 for "base again" of table 1' in out
    assert 'p table 1, "ours": dynamic_degree 50.50: no share of 72 videos; 36 of 72 is 50.000' in out
    assert "dynamic_degree 101.00 is above 100" in out
    path.write_text(path.read_text().replace("&ours {table: 1, row: ours}", "&ours {table: 1, row: our}"))
    code, _, err = run(path)
    assert code == 2
    assert 'table 1 has no row "our"' in err
    assert 'did you mean "ours"?' in err


# ---- the command ---------------------------------------------------------------------------------------------------


def test_the_command_reports_and_exits_with_0(run: Run) -> None:
    code, out, _ = run()
    assert code == 0
    for text in (
        "Kling",
        "+1.102",
        "aesthetic_quality and dynamic_degree swapped",
        "150 rows: 91 add up, 11 do not add up",
    ):
        assert text in out
    assert run("--strict")[0] == 1


def test_json(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(EXAMPLE.replace("82.34", "83.34"))
    code, out, _ = run(path, "--json")
    assert code == 0
    (row,) = json.loads(out)["rows"]
    assert row["verdict"] == "does not add up"
    assert [check["deviation"] for check in row["checks"]] == pytest.approx([0.0064, -0.0055, 1.002], abs=1e-3)
    assert run(path, "--strict")[0] == 1


def test_files_and_folders(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("--example")
    assert (code, out) == (0, EXAMPLE)
    code, _, err = run(tmp_path)
    assert code == 2
    assert "no .yaml file in it" in err
    code, _, err = run(tmp_path / "gone.yaml")
    assert code == 2
    assert "cannot be read" in err
    (tmp_path / "mine.yaml").write_text(EXAMPLE)
    code, out, _ = run(tmp_path, "--strict")
    assert code == 0
    assert "quality 83.93 ≈ 83.924" in out
