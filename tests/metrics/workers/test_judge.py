"""A judge over a worker that misbehaves on request: every failure is named, and nothing stale is answered."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from harness.api import Clip, Features, Score, UserError
from harness.evaluate import row_of
from harness.features import fingerprint
from metrics.workers import judge, known
from metrics.workers.client import WorkerError
from metrics.workers.judge import Judge, JudgeOptions, prompt_of

NOTHING = cast(Features, None)  # a judge looks at the file, not at decoded frames
ENVIRONMENT = """about: a toy
python: "3.11"
requirements: requirements.txt
smoke: import json
"""
WEIGHTS = """group: toy
about: of a toy
files:
  - {file: a.bin, for: [quality], licence: MIT, sources: [{url: "https://example.org/a.bin"}]}
  - {file: b.bin, for: [motion], licence: MIT, sources: [{url: "https://example.org/b.bin"}]}
"""
WORKER = """import os, sys, time
from pathlib import Path

def start(arguments):
    if arguments.get("refuse"):
        raise RuntimeError("no such weights")
    starts = Path(arguments["weights"]) / "starts"
    starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
    def answer(request):
        calls = Path(arguments["weights"]) / "calls"
        calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
        said = Path(request["path"]).read_text()
        if said == "crash":
            os._exit(3)
        if said == "hang":
            time.sleep(600)
        if said == "refuse":
            raise ValueError("not to my taste")
        if said == "nonsense":
            return {"words": "I like it"}
        if said == "nan":
            return {"quality": float("nan"), "motion": 1.0}
        return {"quality": float(len(said)), "motion": len(request["prompt"]), "folder": os.getcwd(),
                "weights": arguments["weights"], "device": arguments["device"], "pid": os.getpid()}
    return answer
"""


class Options(JudgeOptions):
    refuse: bool = False
    scale: float = 10.0


class Quality(Judge):
    name, tool, purposes = "toy/quality", "toy", ("quality",)
    Config = Options
    config: Options

    def request(self, clip: Clip) -> dict[str, Any]:
        return {"prompt": prompt_of(clip)}

    def settings(self) -> dict[str, Any]:
        return {"refuse": self.config.refuse}

    def read(self, answer: Mapping[str, Any]) -> Score:
        return Score(answer["quality"] / self.config.scale, {"pid": answer["pid"]}, note=answer["folder"])


class Motion(Quality):
    name = "toy/motion"

    def read(self, answer: Mapping[str, Any]) -> Score:
        return Score(answer["motion"] / self.config.scale, {"pid": answer["pid"]})


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the toy's family; everything in place."""
    family = tmp_path / "metrics" / "toy"
    (family / "official_env").mkdir(parents=True)
    for name, text in {
        "weights.yaml": WEIGHTS,
        "official_env/environment.yaml": ENVIRONMENT,
        "official_env/requirements.txt": "",
        "official_env/worker.py": WORKER,
    }.items():
        (family / name).write_text(text)
    weights = tmp_path / "weights" / "toy"
    weights.mkdir(parents=True)
    (weights / "a.bin").write_bytes(b"published")
    monkeypatch.setattr(known, "_METRICS", tmp_path / "metrics")
    monkeypatch.setenv("MUTOSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MUTOSCOPE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("MUTOSCOPE_WORKER_TOY", sys.executable)
    judge._table.cache_clear()
    return family


def clip(folder: Path, said: str, prompt: str | None = "a cat") -> Clip:
    path = folder / f"{said}.mp4"
    path.write_text(said)
    return Clip(said, path, hashlib.sha256(said.encode()).hexdigest(), prompt)


def calls(folder: Path, of: str = "calls") -> int:
    file = folder / "weights" / "toy" / of
    return len(file.read_text()) if file.exists() else 0


def scored(clip: Clip, kind: type[Judge] = Quality, **options: Any) -> Score:
    metric = kind(kind.Config(**options))
    try:
        return cast(Score, metric.score(clip, NOTHING))
    finally:
        metric.close()


def problem(clip: Clip, **options: Any) -> str:
    with pytest.raises(WorkerError) as caught:
        scored(clip, **options)
    return caught.value.problem


# ---- answers ---------------------------------------------------------------------------------------------------


def test_two_metrics_of_one_answer_cost_one_pass_and_one_process(tmp_path: Path) -> None:
    quality, motion = Quality(Options()), Motion(Options())
    clips = [clip(tmp_path, "abc"), clip(tmp_path, "abcdef")]
    first = [quality.score(each, NOTHING) for each in clips]
    second = [motion.score(each, NOTHING) for each in clips]
    private = Path(first[0].note)
    assert [score.value for score in first] == [0.3, 0.6]
    assert [score.value for score in second] == [0.5, 0.5]
    assert (calls(tmp_path), calls(tmp_path, "starts")) == (2, 1)
    assert private.is_dir()
    motion.close()
    quality.close()
    quality.close()  # twice does no harm
    assert not private.exists()
    assert judge._Shared.running == {}


def test_metrics_at_once_share_the_process_until_the_last_is_closed(tmp_path: Path) -> None:
    one, other = Quality(Options()), Quality(Options())
    pids = [
        one.score(clip(tmp_path, "a"), NOTHING).parts["pid"],
        other.score(clip(tmp_path, "b"), NOTHING).parts["pid"],
    ]
    one.close()
    pids.append(other.score(clip(tmp_path, "c"), NOTHING).parts["pid"])
    other.close()
    assert len(set(pids)) == 1
    assert calls(tmp_path, "starts") == 1


def test_an_answer_is_remembered_by_everything_that_decides_it(tmp_path: Path, toy: Path) -> None:
    def again(**changes: Any) -> int:
        before = calls(tmp_path)
        scored(clip(tmp_path, "abc", changes.pop("prompt", "a cat")), **changes)
        return calls(tmp_path) - before

    weights, script = tmp_path / "weights" / "toy" / "a.bin", toy / "official_env" / "worker.py"
    assert again() == 1
    assert again() == 0
    assert again(scale=20.0) == 0  # of the reading only
    assert again(timeout=50.0) == 0
    assert again(prompt="a dog") == 1
    weights.write_bytes(b"others")
    assert again() == 1
    script.write_text(script.read_text() + "# another version\n")
    assert again() == 1
    (toy / "official_env" / "requirements.txt").write_text("# pinned\n")
    assert again() == 1
    assert again() == 0


def test_a_clip_of_the_same_name_with_other_bytes_is_asked_about(tmp_path: Path) -> None:
    first = clip(tmp_path, "abc")
    assert scored(first).value == 0.3
    first.path.write_text("abcdefg")
    other = Clip("abc", first.path, hashlib.sha256(b"abcdefg").hexdigest(), "a cat")
    assert scored(other).value == 0.7
    assert scored(Clip("elsewhere", Path("/nowhere"), first.sha256, "a cat")).value == 0.3  # the bytes, not the name


def test_a_damaged_memory_is_not_there(tmp_path: Path) -> None:
    scored(clip(tmp_path, "abc"))
    (file,) = (tmp_path / "cache" / "workers" / "answers" / "toy").rglob("*.json")
    assert '"prompt": "a cat"' in file.read_text()
    file.write_text(file.read_text().replace('"quality": 3.0', '"quality": 9.0'))
    assert scored(clip(tmp_path, "abc")).value == 0.3
    file.write_text(file.read_text()[:20])
    assert scored(clip(tmp_path, "abc")).value == 0.3
    assert calls(tmp_path) == 3


# ---- failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("crash", "toy (official): the process ended with exit code 3"),
        ("hang", "toy (official): no answer within 2 s"),
        ("refuse", "toy (official): ValueError: not to my taste"),
        ("nan", "toy (official): ValueError: Out of range float values are not JSON compliant"),
        ("nonsense", """toy: cannot read its answer (KeyError('quality')): {"words": "I like it"}"""),
    ],
)
def test_a_failure_is_that_of_the_clip_and_is_not_remembered(tmp_path: Path, said: str, expected: str) -> None:
    bad = clip(tmp_path, said)
    metric = Quality(Options(timeout=2.0))
    for _ in range(2):
        with pytest.raises(WorkerError) as caught:
            metric.score(bad, NOTHING)
        assert caught.value.problem.startswith(expected)
    assert metric.score(clip(tmp_path, "good"), NOTHING).value == 0.4
    metric.close()
    assert calls(tmp_path) == 3


def test_a_tool_that_does_not_start_is_given_up_and_named_for_every_clip(tmp_path: Path) -> None:
    metric = Quality(Options(refuse=True))
    for number in range(5):
        with pytest.raises(WorkerError, match="no such weights") as caught:
            metric.score(clip(tmp_path, "a" * number), NOTHING)
        assert ("given up" in caught.value.problem) == (number > 2)
    metric.close()


def test_a_clip_without_a_prompt_is_named_before_the_tool_is_asked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="abc: no prompt"):
        scored(clip(tmp_path, "abc", prompt=None))
    assert calls(tmp_path, "starts") == 0


def test_missing_weights_are_unavailable_with_the_command(tmp_path: Path) -> None:
    (tmp_path / "weights" / "toy" / "a.bin").unlink()
    with pytest.raises(UserError, match=r"a\.bin is missing\nfetch with `mutoscope weights fetch toy --for quality`"):
        Quality.weights(Options())
    assert problem_of_row(clip(tmp_path, "abc")).endswith("a.bin is missing")


def test_a_missing_environment_is_unavailable_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUTOSCOPE_WORKER_TOY")
    with pytest.raises(UserError, match=r"the toy environment: missing\nbuild it with `mutoscope workers build toy`"):
        Quality.weights(Options())
    assert problem_of_row(clip(tmp_path, "abc")) == "the toy environment: missing"


def problem_of_row(clip: Clip) -> str:
    """The row that evaluation writes: an error, no number."""
    metric = Quality(Options())
    spec: Any = type("Spec", (), {"range": (0.0, 1.0)})
    row = row_of(spec, clip, lambda: metric.score(clip, NOTHING))
    assert row["value"] is None
    return cast(str, row["error"])


# ---- identity ----------------------------------------------------------------------------------------------------


def test_the_fingerprint_follows_weights_environment_and_script(tmp_path: Path, toy: Path) -> None:
    def changed(file: Path) -> bool:
        before = fingerprint(Quality, Options())
        file.write_text(file.read_text() + "\n# changed\n")
        return fingerprint(Quality, Options()) != before

    official = toy / "official_env"
    for file in ("environment.yaml", "requirements.txt", "worker.py"):
        assert changed(official / file)
    assert changed(tmp_path / "weights" / "toy" / "a.bin")
    assert fingerprint(Quality, Options()) == fingerprint(Quality, Options(timeout=5.0, device="cpu"))
    assert fingerprint(Quality, Options()) != fingerprint(Quality, Options(scale=20.0))


def test_a_second_environment_of_a_family_has_a_name_of_its_own(toy: Path) -> None:
    (toy / "other_env").mkdir()
    (toy / "other_env" / "environment.yaml").write_text(ENVIRONMENT)
    with pytest.raises(UserError, match=r"other_env/requirements\.txt: cannot be read"):
        known.known()
    (toy / "other_env" / "requirements.txt").touch()
    assert list(known.known()) == ["toy", "toy-other"]
    assert known.environment("toy-other").override == "MUTOSCOPE_WORKER_TOY_OTHER"
