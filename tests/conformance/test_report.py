"""How answers become a report, and what `mutoscope check` makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import cli
from harness.api import UserError
from harness.conformance import Report
from harness.conformance.report import Fault, NotApplicable, Question, examine, told
from tests.test_cli import Run, run

__all__ = ["run"]

PLUGIN = '''
"""Two metrics, one of which is wrong."""
from harness.api import Metric, register_metric

@register_metric
class Sound(Metric):
    """Mean of all pixels."""
    name = "mine/sound"
    def score(self, clip, features):
        return float(features.frames.mean()) / 255

@register_metric
class Wrong(Metric):
    """Mean of all pixels, up to 255."""
    name = "mine/wrong"
    def score(self, clip, features):
        return float(features.frames.mean())
'''


def fine(_: object) -> str:
    return "42"


def faulty(_: object) -> str:
    raise Fault("it is broken")


def absent(_: object) -> str:
    raise NotApplicable("there is none")


def refusing(_: object) -> str:
    raise UserError("no such thing", "get one")


def crashing(_: object) -> str:
    return {}["key"]  # type: ignore[no-any-return]


def report(*questions: Question[object]) -> Report:
    return examine("method", "it", object(), questions)


def test_every_kind_of_answer() -> None:
    found = report(*(Question(ask.__name__, ask) for ask in (fine, faulty, absent, refusing, crashing)))
    answers = {check.name: (check.verdict, check.message) for check in found.checks}
    line = crashing.__code__.co_firstlineno + 1
    assert answers == {
        "fine": ("passed", "42"),
        "faulty": ("failed", "it is broken"),
        "absent": ("not applicable", "there is none"),
        "refusing": ("failed", f"UserError: no such thing (test_report.py:{refusing.__code__.co_firstlineno + 1})"),
        "crashing": ("failed", f"KeyError: 'key' (test_report.py:{line})"),
    }
    assert not found.passed
    assert found.as_dict()["passed"] is False


def test_a_failure_stops_what_comes_after_it_and_names_the_first_cause() -> None:
    found = report(
        Question("a", faulty), Question("b", fine, after=("a",)), Question("c", fine, after=("b",)), Question("d", fine)
    )
    assert [check.verdict for check in found.checks] == ["failed", "not applicable", "not applicable", "passed"]
    assert found["c"].message == "not tried: a failed"


def test_what_is_not_applicable_stops_nothing() -> None:
    assert report(Question("a", absent), Question("b", fine, after=("a",)))["b"].verdict == "passed"


def test_a_report_without_failures_is_handed_back() -> None:
    found = report(Question("a", fine), Question("b", absent))
    assert found.demand() is found
    with pytest.raises(AssertionError, match='method "it" fails 1 of its checks:\n  a: it is broken'):
        report(Question("a", faulty)).demand()


def test_a_long_message_is_cut() -> None:
    assert len(told(ValueError("x" * 1000))) < 450


# ---- the command -----------------------------------------------------------------------------------------------


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    return path


def test_the_command_passes_a_sound_metric(run: Run, plugin: Path) -> None:
    code, out, _ = run("check", "mine/sound", "--plugin", plugin)
    assert code == 0
    assert "passed          names                   file name, id and seed do not matter" in out
    assert "not applicable  direction               it declares no moves" in out
    assert "\n9 passed, 3 not applicable; " in out


def test_the_command_fails_a_wrong_one_and_says_so_in_json(run: Run, plugin: Path) -> None:
    code, out, _ = run("check", "mine/wrong", "--plugin", plugin, "--json")
    found = json.loads(out)
    assert code == 1
    assert (found["kind"], found["name"], found["passed"]) == ("metric", "mine/wrong", False)
    (failed,) = (check for check in found["checks"] if check["verdict"] == "failed")
    assert failed["name"] == "range"
    assert failed["message"].endswith("is outside the declared range [0, 1]")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["tdq"], 'no method, metric, backbone, dataset or tracker is called "tdq"\n  did you mean "tqd"?'),
        (["tqd", "--set", "p_dropp=1"], 'tqd.p_dropp: unknown key\n  did you mean "p_drop"?'),
        (["tqd", "--suite", "vbench-mini"], 'suite vbench-mini has no row "tqd"'),
        (["cogvideox"], "is neither a folder nor a downloaded model"),
    ],
)
def test_what_cannot_be_checked_is_a_mistake_not_a_failure(run: Run, words: list[str], problem: str) -> None:
    code, _, err = run("check", *words)
    assert code == cli.USAGE
    assert problem in err
