"""`mutoscope new`: what it writes is complete, clean and works as it is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from harness import config, registry, suite
from harness.api import RectifiedFlow
from harness.executors import InProcess
from harness.plan import make_plan
from harness.scaffold import TEMPLATES, templates
from harness.store import read_jsonl
from tests import guides
from tests.guides import working_folder  # noqa: F401  the fixture "folder"
from tests.test_plugin_pkg import BUILD
from tests.toy_plugins import toy_suite

METHODS, METRICS = sorted(templates("method")), sorted(templates("metric"))
RUFF = shutil.which("ruff") or str(Path(sys.executable).with_name("ruff"))
WEIGHTS = "checkpoint/student.safetensors"
Call = Any


@pytest.fixture
def new(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """`mutoscope new ...` in an empty folder."""
    return lambda *words: guides.call(["new", *words], monkeypatch, capsys)


def write(new: Call, template: str, name: str = "") -> Path:
    """A package from a template; its folder."""
    kind, option = ("method", "--from") if template in METHODS else ("metric", "--level")
    name = name or f"a-{template}"
    code, _, err = new(kind, name, option, template)
    assert code == 0, err
    folder = re.sub(r"[/_]", "-", name)
    return Path(folder if "-" in folder else f"{folder}-plugin")


def load(package: Path) -> Any:
    """The module of a package, loaded as by --plugin."""
    (path,) = (path for path in package.glob("*.py") if not path.name.startswith("test_"))
    before = set(sys.modules)
    registry.load_plugin(str(path))
    (name,) = (name for name in set(sys.modules) - before if name.startswith("mutoscope_plugin_"))
    return sys.modules[name]


def scores(cell: Path, plan: Any) -> list[dict[str, Any]]:
    """The rows of the plan's one metric."""
    return read_jsonl(cell / "scores" / f"{plan.metrics[0].id}.jsonl")


@pytest.mark.parametrize("template", [*METHODS, *METRICS])
@pytest.mark.parametrize("letters", [3, 40])
def test_what_is_written_is_whole_and_clean(new: Call, template: str, letters: int) -> None:
    name = f"q{'-long' * 10}"[: letters - 1] + "x"
    package = write(new, template, name)
    module = name.replace("-", "_")
    files = {path.name: path.read_text() for path in package.iterdir()}
    assert set(files) == {f"{module}.py", f"test_{module}.py", "suite.yaml", "README.md", "pyproject.toml"}
    assert not [name for name, text in files.items() if re.search(r"my[-_]?plugin|my-control|my-dist|MY-", text, re.I)]
    assert files[f"{module}.py"].count("EDIT HERE") == 1
    group, kind = ("methods", registry.methods) if template in METHODS else ("metrics", registry.metrics)
    points = tomllib.loads(files["pyproject.toml"])["project"]["entry-points"][f"mutoscope.{group}"]
    cls = getattr(load(package), points[name].removeprefix(f"{module}:"))
    assert kind.get(name) is cls
    rows = suite.load(str(package / "suite.yaml"))
    assert name in rows.methods or {"name": name} in rows.metrics
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = subprocess.run([RUFF, *command, str(package)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("template", METHODS)
def test_a_method_runs_beside_its_control(new: Call, template: str, tmp_path: Path) -> None:
    package = write(new, template)
    control = templates("method")[template]["control"]
    options: dict[str, Any] = {"consistency": {"guidance_embed": False, "solver_steps": 10}}.get(template, {})
    whole = toy_suite(methods={control: options, f"a-{template}": options}, metrics=["toy/brightness"])
    plugins = ["tests.toy_plugins", str(package / f"a_{template.replace('-', '_')}.py")]
    plan = make_plan(config.validate(suite.Suite, yaml.safe_load(yaml.safe_dump(whole)), ""), tmp_path, plugins=plugins)
    outcomes = InProcess().run(plan, "cpu", lambda *_: None)
    assert [outcome.problems for outcome in outcomes] == [(), ()]
    theirs, ours = (outcome.cell.path for outcome in outcomes)
    if template == "sampler-only":
        assert [row["value"] for row in scores(ours, plan)] != [row["value"] for row in scores(theirs, plan)]
    else:
        assert (ours / WEIGHTS).read_bytes() != (theirs / WEIGHTS).read_bytes()


@pytest.mark.parametrize("template", METRICS)
def test_a_metric_scores(new: Call, template: str, tmp_path: Path) -> None:
    package = write(new, template, f"my/{template}")
    whole = toy_suite(methods={"base": {}}, metrics=[f"my/{template}"])
    plugins = ["tests.toy_plugins", str(package / f"my_{template}.py")]
    plan = make_plan(config.validate(suite.Suite, yaml.safe_load(yaml.safe_dump(whole)), ""), tmp_path, plugins=plugins)
    (outcome,) = InProcess().run(plan, "cpu", lambda *_: None)
    assert outcome.problems == ()
    rows = scores(outcome.cell.path, plan)
    assert len(rows) == (5 if template == "clip" else 1)
    assert all(0 < row["value"] < 1 for row in rows)


def test_the_functions_to_edit_compute_what_they_say(new: Call) -> None:
    supervised, consistency, dmd, sampler_only, clip, whole = (
        load(write(new, name)) for name in ("supervised", "consistency", "dmd", "sampler-only", "clip", "set")
    )
    one, t = torch.ones(2, 1, 3, 1, 1), torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1, 1)
    weighed = supervised.objective(3 * one, one, t, supervised.MyOptions(slope=0.5))
    assert weighed[:, 0, 0, 0, 0].tolist() == [2.0, 6.0]  # 4 (1 - 0.5), 4 (1 + 0.5)
    ramp = consistency.distance(3 * one, one, consistency.MyOptions(growth=0.5))
    assert ramp[0, 0, :, 0, 0].tolist() == [2.0, 2.5, 3.0]
    g = torch.tensor([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1, 1)
    match = dmd.Match(x=g, real=g, fake=g, n=g, g=g, t=t)
    assert dmd.gradient(match, dmd.MyOptions(weight=0.5)).flatten().tolist() == [-1.0, -0.5, 1.5]
    settings, options = {"steps": 10, "shift": 1.0, "guidance": 4.0}, sampler_only.MyOptions(low=0.15)
    sampler = sampler_only.MySampler(RectifiedFlow(), settings, options)
    assert sampler.scales == [1, *[4.0] * 8, 1]  # of the times 1, 0.9 ... 0.1
    assert sampler.nfe == 18
    steps = np.array([0, 51, 0], np.uint8).reshape(3, 1, 1, 1)
    assert clip.measure(steps) == pytest.approx(0.2)
    assert clip.measure(steps[:1]) is None
    assert whole.measure(np.full((2, 4, 4, 3), 51, np.uint8)) == pytest.approx((0.2, 0.2, 0.2))
    assert whole.summarise(np.array([[0.0, 0.5, 0.5], [1.0, 0.5, 0.5]])) == 0.5


def test_once_installed_it_is_listed_with_its_package(
    new: Call, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    from harness.entries import declared
    from tests.installed import Site

    package = write(new, "supervised", "shiny")
    site = Site(folder / "site", monkeypatch)
    built = subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=package, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    shutil.unpack_archive(folder / built.stdout.split()[-1], folder / "site", "zip")
    declared.cache_clear()
    about = "Fine-tuning that minds errors near pure noise more than errors near the clip."
    listed = [line.split() for line in guides.call(["list"], monkeypatch, capsys)[1].splitlines()]
    assert ["shiny", *about.split(), "[shiny]"] in listed
    assert registry.methods.get("shiny").__module__ == "shiny"
    code, _, err = guides.call(["list", "--plugin", "shiny-plugin/shiny.py"], monkeypatch, capsys)
    assert code == 2  # another copy of the same: which one would run?
    assert 'two methods are called "shiny": shiny:Shiny' in err
    site.close()


@pytest.mark.parametrize(
    ("words", "problem", "remedy"),
    [
        (("method", "My Method"), '"My Method" cannot name a method', 'for example "my-method"'),
        (("method", "my/method"), '"my/method" cannot name a method', 'for example "my-method"'),
        (("method", "-x"), "", ""),
        (("method", "2fast"), '"2fast" cannot name a method', 'for example "fast"'),
        (("method", "a" * 41), "cannot name a method", "at most 40 in all"),
        (("metric", "my//score"), '"my//score" cannot name a metric', "or /"),
        (("method", "tqd"), 'a method is called "tqd" already', "choose another name"),
        (("metric", "flow/magnitude"), 'a metric is called "flow/magnitude" already', "choose another name"),
        (("method", "random"), '"random" would hide the Python module random', '"my-random"'),
        (("method", "lambda"), '"lambda" would hide the Python module lambda', '"my-lambda"'),
        (("method", "metrics"), '"metrics" would hide the Python module metrics', '"my-metrics"'),
        (("method", "x", "--from", "dmdd"), 'no method template is called "dmdd"', 'did you mean "dmd"?'),
        (("metric", "x", "--level", "sample"), 'no metric template is called "sample"', "known: clip, set"),
    ],
)
def test_a_name_that_cannot_be_is_refused(
    new: Call, folder: Path, words: tuple[str, ...], problem: str, remedy: str
) -> None:
    code, _, err = new(*words)
    assert code == 2
    assert problem in err
    assert remedy in err
    assert not [path for path in folder.iterdir() if path.name != "cache"]


def test_nothing_is_written_over(new: Call, folder: Path) -> None:
    write(new, "clip", "score")
    code, _, err = new("metric", "score")
    assert (code, err) == (
        2,
        "error: score-plugin is there already\n  choose another folder with --out, or move it away\n",
    )
    assert new("metric", "score", "--out", "elsewhere/score")[0] == 0
    assert (folder / "elsewhere/score/score.py").is_file()


def test_a_folder_does_not_hide_the_module(new: Call, folder: Path) -> None:
    """With the folder above on Python's path, a folder called as the module would be a namespace package."""
    write(new, "supervised", "mine")
    code = "import sys; sys.path[:0] = ['.', 'mine-plugin']; import mine; print(mine.Mine.name)"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.stdout == "mine\n", done.stderr
    assert not (folder / "mine").exists()


def test_a_name_that_the_template_imports_gets_another_class(new: Call) -> None:
    package = write(new, "supervised", "supervised")
    assert "class SupervisedMethod(Supervised)" in (package / "supervised.py").read_text()
    assert load(package).SupervisedMethod is registry.methods.get("supervised")


@pytest.mark.parametrize("uv", [False, True])
def test_new_says_how_to_go_on(new: Call, monkeypatch: pytest.MonkeyPatch, uv: bool) -> None:
    monkeypatch.delenv("UV", raising=False)
    if uv:
        monkeypatch.setenv("UV", "uv")
    code, out, _ = new("method", "mine", "--out", "here")
    assert code == 0
    run = "uv run mutoscope" if uv else "mutoscope"
    assert out.splitlines() == [
        "here/mine.py   edit objective() in it; everything else is in place",
        "",
        f"{run} check mine --plugin here/mine.py   # is it a sound method?",
        f"{run} run quick --methods supervised-logitnormal,mine --plugin here/mine.py",
        f"{'uv ' if uv else ''}pip install -e here && {run} list   # from now on without --plugin",
    ]


def test_templates_are_all_described() -> None:
    named = {f"{name.replace('-', '_')}.py" for name in (*METHODS, *METRICS)}
    assert {path.name for path in TEMPLATES.glob("*.py")} == named | {"test_method.py", "test_metric.py"}


@pytest.mark.slow
@pytest.mark.parametrize("template", [*METHODS, *METRICS])
def test_its_own_tests_pass_as_written(new: Call, template: str) -> None:
    package = write(new, template)
    words = [sys.executable, "-m", "pytest", "-q"]
    done = subprocess.run(words, cwd=package, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
