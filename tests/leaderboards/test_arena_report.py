"""What judgements say, against numbers worked by hand and from the literature."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import stats
from leaderboards.arena.agreement import agreement, alpha, coincidences, majority
from leaderboards.arena.columns import score_rows, with_columns
from leaderboards.arena.design import design
from leaderboards.arena.report import outcome_table, report
from leaderboards.arena.show import as_json, render
from leaderboards.arena.store import FILE, Judgement, create, open_study
from leaderboards.arena.strength import chances, connected, fit
from leaderboards.arena.study import questions, trials
from leaderboards.compare import compare
from leaderboards.compare_page import write_page
from leaderboards.notes import notes
from leaderboards.payload import suite_digest
from leaderboards.rank import table
from leaderboards.read import seed_of
from leaderboards.site import write_site
from tests.leaderboards.studies import study, write_runs

# ---- agreement -----------------------------------------------------------------------------------------------------

# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011): examples B (two observers) and C (four, with gaps)
TWO = ("a a b b d c c c e d d a", "b a b b b c c c e d d d")
FOUR = ("1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 .")
BINARY = ("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0")


def counted(lines: Sequence[str]) -> np.ndarray:
    table = [line.split() for line in lines]
    kinds = sorted({word for line in table for word in line} - {"."})
    return np.array([[sum(line[u] == kind for line in table) for kind in kinds] for u in range(len(table[0]))])


@pytest.mark.parametrize(("lines", "expected"), [(BINARY, 0.095), (TWO, 0.692), (FOUR, 0.743)])
def test_alpha_is_krippendorffs(lines: Sequence[str], expected: float) -> None:
    assert alpha(coincidences(counted(lines)).sum(axis=0)) == pytest.approx(expected, abs=5e-4)


def test_agreement_ignores_what_one_rater_judged_and_counts_pairs_of_raters() -> None:
    counts = counted(FOUR)
    found = agreement(counts, np.arange(len(counts)))
    assert found.units == 11  # the last one has a single value
    pairs, same = (counts.sum(1) * (counts.sum(1) - 1)).sum(), (counts * (counts - 1)).sum()
    assert found.raw == pytest.approx(same / pairs)
    assert found.low < found.alpha < found.high <= 1
    assert agreement(counts[-1:], [0]).units == 0
    assert math.isnan(agreement([[3, 0], [2, 0]], [0, 1]).alpha)  # all alike: nothing to be beyond chance of


def test_a_prompts_units_are_resampled_together() -> None:
    """Ten units of two prompts tell nothing that an interval could be made of."""
    counts = np.array([[2, 0], [1, 1], [0, 2], [2, 0], [1, 1]] * 2)
    assert math.isfinite(agreement(counts, np.arange(10)).low)
    assert math.isnan(agreement(counts, np.arange(10) % 2).low)


def test_a_majority_is_more_than_half() -> None:
    assert majority([[2, 1, 0], [1, 1, 1], [1, 1, 0], [0, 0, 1], [0, 2, 2], [1, 0, 3]]).tolist() == [
        0,
        -1,
        -1,
        2,
        -1,
        2,
    ]


# ---- strengths -----------------------------------------------------------------------------------------------------


def test_two_rows_without_a_prior_have_davidsons_closed_form() -> None:
    """W wins, T ties, L losses: pi_1 / pi_2 = W / L, nu = T / sqrt(W L)."""
    found = fit([[0, 1]], [[[6, 3, 2]]], 2, prior=0.0)
    assert found is not None
    assert found.theta == pytest.approx([math.log(3) / 2, -math.log(3) / 2], abs=1e-8)
    assert found.ties == pytest.approx(3 / math.sqrt(12), abs=1e-8)


def test_expected_counts_are_observed_counts_at_the_maximum() -> None:
    """The likelihood equations of Davidson (1970): each row's score, and the number of ties."""
    pairs = np.array([[0, 1], [0, 2], [1, 2], [2, 3]])
    counts = np.array([[7, 2, 3], [4, 4, 4], [1, 5, 6], [8, 1, 1]], dtype=float)
    found = fit(pairs, counts[None], 4, prior=0.0)
    assert found is not None
    p = chances(found.theta[pairs[:, 0]] - found.theta[pairs[:, 1]], math.log(found.ties))
    expected = counts.sum(1, keepdims=True) * p
    assert expected[:, 1].sum() == pytest.approx(counts[:, 1].sum())
    for row in range(4):
        won, lost = pairs[:, 0] == row, pairs[:, 1] == row
        score = [c[won, 0].sum() + c[lost, 2].sum() + c[won | lost, 1].sum() / 2 for c in (expected, counts)]
        assert score[0] == pytest.approx(score[1])
    assert found.theta.sum() == pytest.approx(0)


def test_chances_are_davidsons() -> None:
    pi, nu = np.array([3.0, 0.5]), 1.7
    whole = pi.sum() + nu * math.sqrt(pi.prod())
    expected = [pi[0] / whole, nu * math.sqrt(pi.prod()) / whole, pi[1] / whole]
    assert chances(np.array([math.log(6.0)]), math.log(nu))[0] == pytest.approx(expected)


@pytest.mark.parametrize("counts", [[10, 0, 0], [0, 10, 0], [0, 0, 10], [1, 0, 0]])
def test_whatever_is_won_or_tied_strengths_stay_finite(counts: list[int]) -> None:
    found = fit([[0, 1]], np.array(counts)[None, None], 2)
    assert found is not None
    gap = found.theta[0] - found.theta[1]
    assert np.sign(round(gap, 9)) == np.sign(counts[0] - counts[2])
    assert abs(gap) < 2 * math.log(sum(counts) + 2) + 1
    assert 0 < found.ties < 100


def test_the_prior_is_imaginary_judgements() -> None:
    """Each row half a win and half a loss against strength 0; between equals half a tie and half a decision."""
    from scipy.optimize import minimize

    pairs, counts = np.array([[0, 1], [0, 2], [1, 2]]), np.array([[9, 0, 0], [5, 1, 0], [2, 2, 3]], dtype=float)

    def objective(beta: np.ndarray) -> float:
        pi, nu = np.exp(beta[:3]), np.exp(beta[3])
        total = 0.0
        for (i, j), (won, tied, lost) in zip(pairs, counts, strict=True):
            whole = pi[i] + pi[j] + nu * np.sqrt(pi[i] * pi[j])
            total += won * np.log(pi[i] / whole) + lost * np.log(pi[j] / whole)
            total += tied * np.log(nu * np.sqrt(pi[i] * pi[j]) / whole)
        total += (
            sum(np.log(np.sqrt(p) / (1 + p)) for p in pi) + 0.5 * np.log(nu / (2 + nu)) + 0.5 * np.log(2 / (2 + nu))
        )
        return -float(total)

    best = minimize(objective, np.zeros(4), tol=1e-12)
    found = fit(pairs, counts[None], 3)
    assert found is not None
    assert found.theta == pytest.approx(best.x[:3] - best.x[:3].mean(), abs=1e-4)
    assert found.ties == pytest.approx(np.exp(best.x[3]), abs=1e-4)


def test_more_raters_who_say_the_same_of_the_same_prompts_make_nothing_surer() -> None:
    """Two rows, no ties: the variance of the log-odds is P / (P - 1) sum_p (w_p - n_p w)^2 / (N w (1 - w))^2."""
    wins = np.array([3, 0, 2, 3, 1, 3, 2, 3, 0, 3])
    counts = np.stack([wins, 0 * wins, 3 - wins], axis=1)[:, None] * 200.0
    found = fit([[0, 1]], counts, 2)
    assert found is not None
    share = wins.sum() / 30
    variance = 10 / 9 * ((wins - 3 * share) ** 2).sum() / (30 * share * (1 - share)) ** 2
    reach = stats.student_t(0.025, 9) * math.sqrt(variance) / 2  # of theta, half the log-odds
    assert (found.high - found.low) / 2 == pytest.approx([reach, reach], rel=5e-3)


def test_rows_that_no_comparison_connects_have_no_common_scale() -> None:
    assert fit([[0, 1], [2, 3]], np.ones((1, 2, 3)), 4) is None
    assert fit([[0, 1], [1, 2]], [[[3, 1, 1], [0, 0, 0]]], 3) is None
    assert connected(np.array([[0, 1], [2, 1]]), 3)


def test_strengths_are_covered_and_equal_rows_seldom_parted() -> None:
    """120 studies of 20 prompts and three raters; a shift a prompt makes raters agree beyond the model."""
    rng = np.random.default_rng(5)
    pairs = np.array([(0, 1), (0, 2), (1, 2)])
    covered = parted = 0.0
    for truth in (np.zeros(3),) * 60 + (np.array([0.8, 0.0, -0.8]),) * 60:
        gaps = truth[pairs[:, 0]] - truth[pairs[:, 1]]
        counts = np.stack(
            [[rng.multinomial(3, p) for p in chances(gaps + 0.4 * rng.normal(size=3), -0.7)] for _ in range(20)]
        )
        found = fit(pairs, counts, 3)
        assert found is not None
        covered += float(((found.low <= truth) & (truth <= found.high)).mean())
        parted += max(found.ranks) > 1 and not truth.any()
    assert covered / 120 == pytest.approx(0.95, abs=0.04)
    assert parted <= 8  # 5 % of 60 is 3; 8 has probability 0.99


# ---- reports -------------------------------------------------------------------------------------------------------


def answered(choices: Sequence[Sequence[str]], rows: str = "ab") -> list[Judgement]:
    """`choices[rater][prompt]` about clips of two rows; "." for none."""
    found = study(rows, 8, 8)
    out = []
    for rater, line in enumerate(choices):
        for trial in trials(found, rater):
            c = trial.comparison
            choice = {"w": "first", "t": "tie", "l": "second"}.get(line[int(c.item.clip)])
            if choice:
                key = (rater, c.key, "overall", c.item.clip, 0, c.first, c.second)
                out.append(Judgement(*key, trial.first_left, choice, 1, 2.0 + rater))
    return out


def test_a_duel_by_hand() -> None:
    judgements = answered(["wwwtlwt.", "wwltlwl.", "wltttwww"])
    found = report(study("ab", 8, 8), judgements, {0: "Ada", 1: "Ben", 2: "Cy"}, changed=2)
    standing, other = found.standings
    (duel,) = standing.duels
    # prompts 0 www, 1 wwl, 2 wlt: split, 3 ttt, 4 llt, 5 www, 6 tlw: split, 7 w
    assert (duel.first, duel.second, duel.pairs, duel.judgements, duel.split) == ("a", "b", 8, 22, 2)
    assert [s.count for s in (duel.win, duel.tie, duel.loss)] == [4, 3, 1]
    assert (duel.win.low, duel.win.high) == pytest.approx(stats.wilson(4, 8))
    wins, ties = 11, 6
    assert duel.outcome.mean == pytest.approx((wins + ties / 2) / 22)
    gaps = [1.5, 0.5, 0.0, 0.0, -1.0, 1.5, 0.0, 0.5]
    assert duel.p == pytest.approx(stats.sign_flip(np.array(gaps)))
    assert duel.p_holm == duel.p
    assert standing.agreement.units == 7
    assert standing.strengths is not None
    assert standing.strengths.theta[0] > 0 > standing.strengths.theta[1]
    assert (other.judgements, other.duels, other.strengths, found.changed) == (0, (), None, 2)
    ada, _, cy = found.raters
    assert (ada.judgements, ada.asked, ada.seconds, cy.tie.count) == (7, 16, 2.0, 3)
    assert ada.same == pytest.approx((5 + 3) / 14)  # with Ben (w w . t l w .), with Cy (w . . t . w .)
    decided = [j for j in judgements if j.choice != "tie"]
    assert found.left.count == sum((j.choice == "first") == j.first_left for j in decided)


def test_every_judgement_stands_in_its_prompts_line() -> None:
    found = outcome_table(np.array([[2, 1, 0], [0, 0, 0], [0, 0, 1]]))
    assert found == pytest.approx(np.array([[1, 1, 0.5], [0, np.nan, np.nan]]), nan_ok=True)


def test_json_has_every_number_and_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    found = report(study("ab", 8, 8), answered(["wwwtlwtw"]), {0: "Ada <b>"})
    told = json.loads(json.dumps(as_json(found), allow_nan=False))
    assert told["questions"][0]["duels"][0]["win"]["count"] == 5
    assert told["questions"][0]["agreement"]["alpha"] is None
    assert [row["row"] for row in told["questions"][0]["strengths"]["rows"]] == ["a", "b"]
    render(found, Console())
    shown = capsys.readouterr().out
    assert "8 judgements by 1 rater" in shown
    assert "62 [31, 86]" in shown  # five of eight
    assert "no pair was judged by two raters" in shown


# ---- the leaderboard -------------------------------------------------------------------------------------------------


def judge(folder: Path, wins: str, raters: int = 2, pairs: int = 99) -> None:
    """Raters prefer the row named first in `wins`, then the second, and so on; odd ones call the last two tied."""
    found = design(table(folder), (), questions(["overall=Which one?", "motion=Which moves?"]), pairs, 3, 0)
    file = create(folder / FILE, found)
    order = {row.folder: wins.index(row.label[0]) for row in found.rows}
    for rater in map(file.rater, [f"rater {n}" for n in range(raters)]):
        for trial in trials(found, rater):
            c = trial.comparison
            choice = "first" if order[c.first] < order[c.second] else "second"
            if rater % 2 and {order[c.first], order[c.second]} == {1, 2}:
                choice = "tie"
            key = (rater, c.key, "overall", c.item.clip, c.item.seed, c.first, c.second)
            file.record(Judgement(*key, trial.first_left, choice, 1, 1.0))
    file.close()


def test_judgements_are_a_column_of_the_board(tmp_path: Path) -> None:
    folder = write_runs(tmp_path)
    before = table(folder)
    judge(folder, "sfp")
    board = table(folder)
    assert [c.key for c in board.columns] == ["toy/up", "arena/overall"]  # nobody was asked about motion
    column = board.columns[-1]
    assert (column.higher_is_better, column.range, column.unit, column.level) == (True, (0.0, 1.0), "", "clip")
    means = {e.label: board.values[e.label, column.key].estimate.mean for e in board.entries}
    assert means == pytest.approx({"secret": 1.0, "fancy": 0.375, "plain": 0.125})
    assert [board.values[row, column.key].rank for row in ("secret", "fancy", "plain")] == [1, 2, 3]
    assert board.values["fancy", column.key].parts == {
        "loss": (0.5, 12), "tie": (0.25, 12), "win": (0.25, 12)
    }  # fmt: skip
    for entry in before.entries:
        assert board.values[entry.label, "toy/up"] == before.values[entry.label, "toy/up"]
    told = next(note for note in notes(board) if note.startswith("arena/overall: human"))
    assert '"Which one?": 2 raters, 72 judgements of 36 pairs of clips' in told
    # by hand: 12 first, 12 tie, 48 second; 24 of 72 disagree where (72^2 - 12^2 - 12^2 - 48^2) / 71 would by chance
    assert f"Krippendorff's alpha {1 - 24 * 71 / 2592:.2f}" in told
    assert "raw agreement 67 %" in told


def test_judgements_are_in_the_site_and_the_comparison(tmp_path: Path) -> None:
    """The column explains itself, and every clip has its outcome."""
    folder = write_runs(tmp_path / "runs")
    judge(folder, "sfp")
    board = table(folder)
    write_site(board, tmp_path / "site", {})
    front = (tmp_path / "site" / "index.html").read_text()
    told = "human preference, &quot;Which one?&quot;: 2 raters, 72 judgements of 36 pairs of clips"
    assert f'title="arena/overall\n{told}' in front
    assert f"<p><sup>*</sup> {told}" in front
    prompt = (tmp_path / "site" / "prompts" / "0003-a-red-ball.html").read_text()
    lines = re.findall(r'<dt title="arena/overall">overall</dt><dd title="4 judgements\n[^"]*">([0-9.]+)</dd>', prompt)
    assert lines == ["1.000", "0.375", "0.125"]
    page = write_page(compare(board, ["plain", "secret"]), tmp_path / "compare").read_text()
    assert page.count('<dt title="arena/overall">overall</dt><dd class="good">1.000</dd>') == 12


def test_judgements_are_published(tmp_path: Path) -> None:
    """Another answer is another content of the suite's folder, so that MLflow gets it."""
    folder = write_runs(tmp_path)
    before = suite_digest(folder)
    judge(folder, "sfp", raters=1)
    one = suite_digest(folder)
    file = open_study(folder / FILE)
    file.record(replace(file.judgements()[0], choice="tie"), change=True)
    file.close()
    assert len({before, one, suite_digest(folder)}) == 3
    assert suite_digest(folder) == suite_digest(folder)


def test_clips_that_nobody_judged_are_not_applicable(tmp_path: Path) -> None:
    folder = write_runs(tmp_path)
    judge(folder, "sfp", raters=1, pairs=10)
    board = table(folder)
    values = [board.values[e.label, "arena/overall"] for e in board.entries]
    assert sum(v.estimate.n for v in values) == 20
    assert all(v.estimate.n + v.na == 12 and not v.missing and not v.errors for v in values)
    told = next(note for note in notes(board) if note.startswith("arena/overall: not"))
    assert told.startswith("arena/overall: not judged, clips: ")


def test_a_clip_that_was_made_again_is_not_the_one_that_was_judged(tmp_path: Path) -> None:
    folder = write_runs(tmp_path)
    judge(folder, "sfp")
    entry = next(e for e in table(folder).entries if e.label == "plain")
    lines = (entry.runs[0] / "clips.jsonl").read_text().splitlines()
    first = json.loads(lines[0]) | {"sha256": "1" * 64}
    (entry.runs[0] / "clips.jsonl").write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    rows = score_rows(entry.runs[0].path.parent, {seed_of(run): run for run in entry.runs})
    (found,) = (rows[key] for key in rows if key.startswith("arena/overall@"))
    bad = [row for row in found.values() if row["error"]]
    assert [(row["clip"], row["value"]) for row in bad] == [(first["id"], None)]
    assert table(folder).values["plain", "arena/overall"].rank is None


def test_suites_without_a_study_are_as_they_were(tmp_path: Path) -> None:
    folder = write_runs(tmp_path)
    suite = {"digest": "x", "metrics": []}
    assert with_columns(suite, folder) is suite
    assert score_rows(next(folder.glob("plain@*")), {}) == {}
    create(folder / FILE, design(table(folder), (), questions(["Which?"]), 5, 3, 0)).close()
    assert [c.key for c in table(folder).columns] == ["toy/up"]  # begun, and nothing answered yet
