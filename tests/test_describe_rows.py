"""`describe` of rows: the parts in use, in the order they act."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import guides
from tests.toy_plugins import toy_suite

ROWS: dict[str, dict[str, Any]] = {
    "avd-no-temporal": {"method": "avd", "extra_losses": {"temporal": None}},
    "tqd-on-data": {"method": "dmd", "rollout": "data", "time_law": "tqd_beta", "retention": "tqd"},
    "scores": {"method": "dmd", "score_law": {"name": "shifted_uniform", "s": 3.0}},
    "lcm-ltd": {"method": "lcm", "element_weight": "ltd", "time_law": "uniform"},
    "msm+tr": {"method": "msm", "extra_losses": {"temporal": {"w_temp": 0.02}}},
    "avd-rewarded": {"method": "avd", "extra_losses": {"rewards": {"rewards": ["shapes-reader"]}}},
    "lcm+reg": {"method": "lcm", "extra_losses": ["regression"], "rewards": ["shapes-reader"]},
    "guided": {"method": "lcm", "guidance": "motion", "target": "online"},
    "tqd-ltd": {"method": "tqd", "element_weight": "ltd"},
    "base-few": {"method": "base", "sampler": {"name": "renoise", "times": [1.0, 0.5]}},
    "student": {"method": "dmd", "sampler": {"stochastic": False}},
    "vif": {"method": "vif"},
}
WANTED = {  # row: fragments of its lines, in this order
    "avd-no-temporal": [
        "rollout simulate",
        "g = (fake(x_t) - real(x_t))",
        "adaptive_regression: w_reg 2",
        "fake score",
    ],
    "tqd-on-data": [
        "p = max(q, m)",
        "TQD, Eq. 1",
        "t ~ Beta(",
        "TQD, Eqs. 2-4",
        "k nearest to the law's time",
        "L = 0.5",
    ],
    "scores": [
        "x = x0_hat",
        "score times  t = s u / (1 + (s - 1) u)",
        "time_law shifted_uniform: t_min",
        "s 3",
        "g = (",
    ],
    "lcm-ltd": ["time         t ~ U(0, 1)", "span holds the law's time", "w = 1 + ln(e + D)", "L = mean(w (sqrt(d^2"],
    "msm+tr": ["rollout data", "lambda D^T D g", "MSM, Eqs. 10-12", "L = 0.5 mean", "w_temp 0.02", "AVD, Eq. 8"],
    "avd-rewarded": ["temporal", "adaptive_regression", "- beta_img mean(sum R_img(", "rewards [shapes-reader]"],
    "lcm+reg": ["target ema", "L = mean(sqrt(d^2", "extra_loss regression", "reward shapes-reader", "beta_img 0.2"],
    "guided": ["stage motion_guidance", "teacher_guidance motion", "f_target: the student itself"],
    "tqd-ltd": ["retention tqd", "time_law tqd_beta", "element_weight ltd", "L = mean(w e)", "sampler multistep"],
    "base-few": ["sampler renoise: times [1, 0.5]"],
    "student": ["sampler renoise: times [1, 0.9, 0.757, 0.522], stochastic False"],
    "vif": ["equation", "methods.avd.interpolation"],
}
ABSENT = {"avd-no-temporal": "V = mean", "scores": "score_shift", "msm+tr": "regression", "lcm-ltd": "U{1 .. N}"}


def describe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    return guides.call(["describe", *words], monkeypatch, capsys)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(toy_suite(methods=ROWS), sort_keys=False))
    return str(path)


def test_a_suite_file_tells_every_row(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = describe(monkeypatch, capsys, file)
    assert (code, err) == (0, "")
    told = dict(zip(ROWS, out.strip().split("\n\n"), strict=True))
    for row, fragments in WANTED.items():
        assert told[row].startswith(f"{row}: method {ROWS[row]['method']}\n")
        places = [told[row].find(fragment) for fragment in fragments]
        assert -1 not in places, (row, dict(zip(fragments, places, strict=True)))
        assert places == sorted(places), row
    for row, fragment in ABSENT.items():
        assert fragment not in told[row]


def test_one_row_and_changes(file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = describe(monkeypatch, capsys, file, "msm+tr", "--set", "methods.msm+tr.gradient_terms.msm.lambda_=4")
    assert out.count(": method ") == 1
    assert "gradient_term msm: lambda_ 4" in out
    _, out, _ = describe(monkeypatch, capsys, "quick", "ltd")
    assert out.startswith("ltd: method ltd\n  rows         every row alike")
    _, out, _ = describe(monkeypatch, capsys, "quick")
    assert "title: Quick look" in out
    assert out.rstrip().endswith("what a row computes: mutoscope describe quick ROW")


def test_a_method_under_other_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = describe(monkeypatch, capsys, "dmd")
    assert "computes\n  rollout      x_{t_k} on the student's own path" in out
    _, out, _ = describe(monkeypatch, capsys, "dmd", "--set", "rollout=data", "--set", "time_law=tqd_beta")
    assert "computes\n  clip times   t ~ Beta(" in out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["quick", "tdq"], 'no method or row is called "tdq"'),
        (["tqd", "row"], '"tqd" is no suite, so it has no row row'),
        (["dmd", "--set", "time_law=tqd_beta"], "time_law: no real clip is noised"),
        (["shapes", "--set", "size=1"], "--set: shapes is a dataset"),
    ],
)
def test_mistakes_are_told(
    words: list[str], problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = describe(monkeypatch, capsys, *words)
    assert code == 2
    assert problem in err


def test_a_part_of_a_stranger_is_told_by_its_docstring() -> None:
    from harness.api import register_part, term_of
    from methods.supervised import ElementWeight

    @register_part("element_weight", "stranger")
    class Stranger(ElementWeight):
        """w = t.

        More.
        """

        def __call__(self, batch, t):  # type: ignore[no-untyped-def]
            return t

    term = term_of("weight", "element_weight", {"name": "stranger"})
    assert (term.formula, term.part) == ("w = t.", "element_weight stranger")
    assert term.source.endswith("Stranger")
