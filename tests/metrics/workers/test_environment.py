"""Environments built with uv: an empty one is built for real, without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from harness.errors import UserError
from metrics.workers.environment import Environment, find_uv
from metrics.workers.known import environment, known

YAML = """about: nothing much
python: "{python}"
requirements: requirements.txt
smoke: {smoke}
extras: {{more: {{about: more of it, requirements: more.txt, smoke: "{more}"}}}}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MUTOSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    try:
        find_uv()
    except UserError:
        pytest.skip("uv is not installed")
    return tmp_path


def toy(home: Path, requirements: str = "", smoke: str = "import json", more: str = "import re") -> Environment:
    python = ".".join(map(str, sys.version_info[:2]))
    (home / "environment.yaml").write_text(YAML.format(python=python, smoke=smoke, more=more))
    (home / "requirements.txt").write_text(requirements)
    (home / "more.txt").write_text("")
    return Environment("toy", home / "environment.yaml")


def quiet(_: str) -> None: ...


def test_builds_once_and_is_found_again(home: Path) -> None:
    said: list[str] = []
    assert toy(home).status() == "missing"
    toy(home).build(say=said.append)
    built = toy(home)
    assert built.status() == "ready"
    assert built.folder.parent == home / "cache" / "workers"
    assert any("pip install" in line for line in said)
    inside = subprocess.run([built.require(), "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True)
    assert Path(inside.stdout.strip()) == built.folder / "env"
    said.clear()
    toy(home).build(say=said.append)
    assert said == []


def test_other_requirements_are_another_folder(home: Path) -> None:
    first = toy(home)
    first.build(say=quiet)
    second = toy(home, "# pinned\n")
    assert second.folder != first.folder
    assert (first.status(), second.status()) == ("ready", "missing")
    with pytest.raises(UserError, match=r"the toy environment: missing\nbuild it with `mutoscope workers build toy`"):
        second.require()
    second.build(say=quiet)
    assert second.remove() == 2
    assert (first.status(), second.status()) == ("missing", "missing")


@pytest.mark.parametrize("left", ["folder", "venv", "marker without python"])
def test_a_half_built_one_is_built_anew(home: Path, left: str) -> None:
    env = toy(home)
    env.folder.mkdir(parents=True)
    (env.folder / "rubble").touch()
    if left == "venv":
        (env.folder / "env" / "bin").mkdir(parents=True)
        os.symlink(sys.executable, env.python)
    if left == "marker without python":
        (env.folder / "ready.json").write_text("{}")
    assert env.status() == "broken"
    with pytest.raises(UserError, match="the toy environment: broken"):
        env.require()
    env.build(say=quiet)
    assert env.status() == "ready"
    assert not (env.folder / "rubble").exists()


def test_a_builder_that_is_killed_leaves_nothing_that_looks_ready(home: Path) -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from metrics.workers.environment import Environment\n"
        "Environment('toy', Path(sys.argv[2])).build(say=lambda line: os._exit(9) if 'pip install' in line else None)"
    )
    env = toy(home)
    root = str(Path(__file__).parents[3])
    assert subprocess.run([sys.executable, "-c", code, root, str(home / "environment.yaml")]).returncode == 9
    assert env.status() == "broken"
    env.build(say=quiet)  # the lock went with its holder
    assert env.status() == "ready"


def test_two_builders_do_not_collide(home: Path) -> None:
    said: list[list[str]] = [[], []]
    builders = [Thread(target=toy(home).build, kwargs={"say": words.append}) for words in said]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert toy(home).status() == "ready"
    assert sorted(sum("pip install" in line for line in words) for words in said) == [0, 1]
    assert any("waiting for another build" in line for words in said for line in words)


def test_a_failed_build_says_why_and_where_its_log_is(home: Path) -> None:
    env = toy(home, "no-such-package-anywhere==1\n")
    with pytest.raises(UserError, match="building toy failed with exit code") as caught:
        env.build(say=quiet)
    assert "no-such-package-anywhere" in caught.value.problem
    assert caught.value.remedy == f"the whole log: {env.log}"
    assert "no-such-package-anywhere" in env.log.read_text()
    assert env.status() == "broken"


def test_what_does_not_run_is_not_ready(home: Path) -> None:
    env = toy(home, smoke="import nothing_of_this_name")
    with pytest.raises(UserError, match="No module named 'nothing_of_this_name'"):
        env.build(say=quiet)
    assert env.status() == "broken"


def test_extras_come_on_top(home: Path) -> None:
    env = toy(home)
    env.build(say=quiet)
    inode = env.python.parent.stat().st_ino
    assert (env.status(), env.status("more")) == ("ready", "missing")
    with pytest.raises(UserError, match=r"toy environment's more packages: missing\n.*build toy more`"):
        env.require("more")
    env.build(["more"], quiet)
    assert env.require("more") == env.python
    assert env.python.parent.stat().st_ino == inode
    (home / "more.txt").write_text("# another version\n")
    assert (env.status(), env.status("more")) == ("ready", "missing")
    with pytest.raises(UserError, match='toy has no extra "mor"\ndid you mean "more"'):
        env.build(["mor"], quiet)


def test_bounds_reach_uv(home: Path) -> None:
    plain = toy(home)
    file = home / "environment.yaml"
    file.write_text(file.read_text() + "overrides: [iopath==0.1.10]\nbuild: [setuptools==81.0.0]\n")
    env = Environment("toy", file)
    assert env.folder != plain.folder
    said: list[str] = []
    env.build(say=said.append)
    (install,) = (line.split() for line in said if " pip install " in line)
    for flag, line in (("--overrides", "iopath==0.1.10\n"), ("--build-constraints", "setuptools==81.0.0\n")):
        assert Path(install[install.index(flag) + 1]).read_text() == line


def repository(folder: Path) -> tuple[str, str]:
    """A repository of two commits; its address and the first."""
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    (folder / "inner").mkdir(parents=True)
    subprocess.run([*git, "init", "--quiet"], check=True)
    for text in ("VALUE = 1\n", "VALUE = 2\n"):
        (folder / "inner" / "official.py").write_text(text)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "--quiet", "-m", text], check=True)
    first = subprocess.run([*git, "rev-parse", "HEAD~1"], capture_output=True, text=True, check=True).stdout.strip()
    return folder.as_uri(), first


def with_source(
    home: Path, commit: str, url: str, smoke: str = "import official; assert official.VALUE == 1"
) -> Environment:
    toy(home, smoke=smoke)
    file = home / "environment.yaml"
    file.write_text(f"{file.read_text()}sources: {{tool: {{url: '{url}', commit: '{commit}', paths: [inner]}}}}\n")
    return Environment("toy", file)


def test_official_code_comes_at_its_commit_and_is_importable(home: Path) -> None:
    url, first = repository(home / "origin")
    env = with_source(home, first, url)
    env.build(say=quiet)
    assert env.status() == "ready"
    assert env.paths == (env.folder / "sources" / "tool" / "inner",)
    assert (env.paths[0] / "official.py").read_text() == "VALUE = 1\n"
    head = ["git", "-C", str(env.source("tool")), "rev-parse", "HEAD"]
    assert subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip() == first
    assert with_source(home, "0" * 40, url).folder != env.folder


def test_a_commit_that_the_repository_does_not_have_is_a_failed_build(home: Path) -> None:
    url, _ = repository(home / "origin")
    env = with_source(home, "0" * 40, url)
    with pytest.raises(UserError, match="building toy failed with exit code"):
        env.build(say=quiet)
    assert env.status() == "broken"


def test_a_ready_made_environment_gets_the_official_code_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, first = repository(home / "origin")
    monkeypatch.setenv("MUTOSCOPE_WORKER_TOY", sys.executable)
    env = with_source(home, first, url, smoke="import not_looked_at")
    with pytest.raises(UserError, match=r"toy environment: missing.*\nbuild it with `mutoscope workers build toy`"):
        env.require()
    env.build(say=quiet)
    assert env.require() == Path(sys.executable)
    assert (env.paths[0] / "official.py").is_file()
    assert not (env.folder / "env").exists()


def test_an_extra_that_fails_leaves_the_base_ready(home: Path) -> None:
    env = toy(home, more="import nothing_of_this_name")
    with pytest.raises(UserError, match="nothing_of_this_name"):
        env.build(["more"], quiet)
    assert (env.status(), env.status("more")) == ("ready", "missing")


def test_a_ready_made_environment_can_be_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = toy(home)
    monkeypatch.setenv("MUTOSCOPE_WORKER_TOY", sys.executable)
    assert env.require("more") == Path(sys.executable)
    monkeypatch.setenv("MUTOSCOPE_WORKER_TOY", "/nowhere/python")
    with pytest.raises(UserError, match=r"broken \(MUTOSCOPE_WORKER_TOY=/nowhere/python\)"):
        env.require()


def test_too_little_space_is_said_before_the_build(home: Path) -> None:
    env = toy(home)
    (home / "environment.yaml").write_text((home / "environment.yaml").read_text() + "gigabytes: 1000000\n")
    env = Environment("toy", home / "environment.yaml")
    with pytest.raises(UserError, match="GB free, the toy environment needs 1e\\+06"):
        env.build(say=quiet)
    assert not env.folder.exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pyton: 3", "pyton: Extra inputs"),
        ("overrides: 7", "overrides: Input should be"),
        ("sources: {t: {url: u, commit: main}}", "sources.t.commit: Value error, a commit is its forty"),
        ("sources: {t: {url: u, commit: '" + "0" * 40 + "', paths: [../x]}}", "the path leaves the repository"),
        ("{", "is not YAML: while scanning a simple key"),
    ],
)
def test_a_wrong_description_is_a_message(home: Path, line: str, said: str) -> None:
    toy(home)
    file = home / "environment.yaml"
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(UserError, match=said):
        Environment("toy", file)


def test_without_uv_the_message_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match=r"uv.* is not installed\npip install uv"):
        toy(home).build(say=quiet)


def test_names_and_files_lead_to_environments(home: Path) -> None:
    assert "vbench" in known()
    toy(home)
    assert environment(str(home / "environment.yaml")).description.about == "nothing much"
    with pytest.raises(UserError, match='no worker environment is called "vbensh"\ndid you mean "vbench"'):
        environment("vbensh")
