"""Names, near misses, duplicates, broken plugins, and packages that share a name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import registry
from harness.api import Method, Options
from harness.entries import declared
from harness.errors import UserError
from tests import guides
from tests.installed import Site

PLUGIN = '''
from harness.api import Metric, register_metric

@register_metric
class Brightness(Metric):
    """Mean of all pixels."""
    name = "test/brightness"
    def score(self, clip, features):
        return float(features.frames.mean()) / 255
'''
METHOD = '''
from harness.api import register_method, register_part
from methods.supervised import ElementWeight, SupervisedUniform

@register_part("element_weight", "{part}")
class Half(ElementWeight):
    """w = 1/2."""
    def __call__(self, batch, t):
        return t.new_full((), 0.5)

@register_method
class Mine(SupervisedUniform):
    """{about}"""
    name = "{name}"
    preset = {{"element_weight": "{part}"}}
'''


def method(name: str, about: str = "One of acme's.", part: str = "acme-half") -> str:
    return METHOD.format(name=name, about=about, part=part)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site(tmp_path / "site", monkeypatch)
    yield site
    site.close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line in this process: (exit code, stdout, stderr)."""
    return lambda *words: guides.call([*map(str, words)], monkeypatch, capsys)


def line_of(out: str, name: str) -> str:
    """What `list` says of a name."""
    return next(line.split(None, 1)[1].strip() for line in out.splitlines() if line.split()[:1] == [name])


def test_built_in_names_are_found_without_importing_them() -> None:
    found = {entry.name: entry for entry in registry.methods.describe()}
    assert {"base", "supervised-uniform", "supervised-logitnormal", "supervised-const2", "tqd", "ltd"} <= set(found)
    assert all(entry.about and not entry.trouble for entry in found.values())


def test_every_entry_point_loads_and_calls_itself_by_its_name() -> None:
    for entries in (registry.methods, registry.metrics, registry.backbones, registry.datasets):
        for name in entries.names():
            cls = entries.get(name)
            assert cls.name == name
            assert issubclass(cls.Config, Options)
            assert (cls.__doc__ or "").strip()


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(UserError) as error:
        registry.methods.get("tdq")
    assert str(error.value) == 'no method is called "tdq"\ndid you mean "tqd"?'


def test_a_second_class_of_the_same_name_is_refused() -> None:
    with pytest.raises(UserError, match='two methods are called "ltd"'):

        @registry.register_method
        class Mine(Method):
            name = "ltd"


def test_a_class_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(UserError, match="is not a metric"):
        registry.register_metric(Options)


# ---- --plugin files ----------------------------------------------------------------------------------------------


def test_a_plugin_file_registers_and_a_broken_one_says_why(site: Site, tmp_path: Path) -> None:
    good = tmp_path / "my_brightness.py"
    good.write_text(PLUGIN)
    registry.load_plugin(str(good))
    assert registry.metrics.get("test/brightness").__doc__ == "Mean of all pixels."
    registry.load_plugin(str(good))  # again is nothing new
    bad = tmp_path / "my_broken.py"
    bad.write_text("\nimport no_such_module_anywhere")
    for _ in range(2):  # half of it must not pass for a loaded plugin
        with pytest.raises(UserError, match=r"No module named 'no_such_module_anywhere' \(my_broken.py, line 2\)"):
            registry.load_plugin(str(bad))
    with pytest.raises(UserError, match="no such file"):
        registry.load_plugin(str(tmp_path / "absent.py"))
    bad.write_text("def f(:\n")
    with pytest.raises(UserError, match=r"SyntaxError: .*\(my_broken.py, line 1\)"):
        registry.load_plugin(str(bad))
    bad.write_text("import sys\nsys.exit('no licence')")
    with pytest.raises(UserError, match=r"SystemExit: no licence \(my_broken.py, line 2\)"):
        registry.load_plugin(str(bad))


def test_a_plugin_left_out_is_asked_for(run: Any) -> None:
    code, _, err = run("run", "quick", "--methods", "zzz", "--dry-run")
    assert code == 2
    assert err.endswith(", vcm, vif; one of your own needs --plugin FILE\n")


def test_two_plugin_files_of_one_name_are_two(site: Site, tmp_path: Path, run: Any) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(PLUGIN)
    code, _, err = run("list", "--plugin", tmp_path / "a/mine.py", "--plugin", tmp_path / "b/mine.py")
    assert code == 2
    assert 'two metrics are called "test/brightness": mine.py:Brightness and mine.py:Brightness' in err
    assert f"--plugin {tmp_path}/b/mine.py" in err


def test_a_feature_has_one_owner(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from harness.api import register_feature\nregister_feature('flow/dis', 1)(len)")
    registry.metrics.get("flow/magnitude")
    with pytest.raises(UserError, match=r'two features are called "flow/dis": metrics\.flow\.dis and builtins'):
        registry.load_plugin(str(tmp_path / "mine.py"))


# ---- packages that share a name ----------------------------------------------------------------------------------


def test_a_name_of_ours_stays_ours_and_a_package_has_its_own_before_it(site: Site, run: Any, tmp_path: Path) -> None:
    site.install("Acme_Video", {"acme_ours.py": method("tqd")}, methods={"tqd": "acme_ours:Mine"})
    out = run("list")[1]
    assert line_of(out, "acme-video:tqd") == "One of acme's. [acme-video]"
    assert "[" not in line_of(out, "tqd")
    assert registry.methods.get("tqd").__module__ == "methods.tqd"
    assert registry.methods.get("acme-video:tqd").name == "acme-video:tqd"
    code, out, _ = run("plan", "quick", "--methods", "tqd,acme-video:tqd", "--runs", tmp_path)
    assert code == 0
    keys = {line.split("│")[1].split()[0]: line.split("│")[2].strip() for line in out.splitlines() if "seed 0" in line}
    assert set(keys) == {"tqd", "acme-video:tqd"}
    assert len(set(keys.values())) == 2  # neither may pass for the other


def test_a_name_of_two_packages_is_asked_for_with_the_package(site: Site, run: Any) -> None:
    for package in ("acme", "brio"):
        text = method("shared-name", f"{package}'s.", part="shared-half")
        site.install(package, {f"{package}_shared.py": text}, methods={"shared-name": f"{package}_shared:Mine"})
    out = run("list")[1]
    assert line_of(out, "acme:shared-name") == "acme's. [acme]"
    assert line_of(out, "brio:shared-name") == "brio's. [brio]"
    code, _, err = run("run", "quick", "--methods", "shared-name", "--dry-run")
    assert code == 2
    assert 'several packages have a method "shared-name"\n  say acme:shared-name or brio:shared-name' in err
    assert registry.methods.get("brio:shared-name").__module__ == "brio_shared"
    with pytest.raises(UserError, match="say acme:shared-half or brio:shared-half"):
        registry.find_part("element_weight", "shared-half")
    assert registry.find_part("element_weight", "acme:shared-half").__module__ == "acme_shared"


def test_a_part_of_ours_stays_ours(site: Site) -> None:
    site.install("acme", {"acme_part.py": method("acme-x", part="const")}, methods={"acme-x": "acme_part:Mine"})
    registry.methods.get("acme-x")
    assert registry.find_part("element_weight", "const").__module__ == "methods.supervised.weights"
    assert registry.find_part("element_weight", "acme:const").__module__ == "acme_part"


def test_a_part_of_a_package_is_found_by_its_plain_name(site: Site) -> None:
    site.install("acme", {"acme_half.py": method("acme-y")}, methods={"acme-y": "acme_half:Mine"})
    assert registry.find_part("element_weight", "acme-half").__name__ == "Half"


def test_twice_in_one_package_is_an_error(site: Site, run: Any) -> None:
    files = {"acme_twice.py": method("acme-z"), "acme_once.py": method("acme-z")}
    site.install("acme", files, methods={"acme-z": "acme_twice:Mine"})
    points = site.folder / "acme-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text() + "acme-z = acme_once:Mine\n")
    declared.cache_clear()
    twice = "acme declares it twice: acme_twice:Mine, acme_once:Mine"
    assert line_of(run("list")[1], "acme-z") == f"warning: cannot be imported: {twice} [acme]"
    code, _, err = run("describe", "acme-z")
    assert code == 2
    assert 'two methods are called "acme-z": acme_twice:Mine, acme_once:Mine and package acme' in err


def test_the_file_of_a_package_in_place_is_that_package(site: Site) -> None:
    site.install("acme", {"acme_place.py": method("acme-p")}, methods={"acme-p": "acme_place:Mine"})
    registry.load_plugin(str(site.folder / "acme_place.py"))
    assert registry.methods.get("acme-p").__module__ == "acme_place"


# ---- broken packages ---------------------------------------------------------------------------------------------

BROKEN = {
    "needs": ("import no_such_package\n", 'it needs the package "no_such_package", which is not installed'),
    "syntax": ("def f(:\n", "line 1: "),
    "raising": ("raise RuntimeError('no licence')\n", "line 1 raises an exception"),
    "attribute": ("Other = 1\n", "acme_attribute has no Mine"),
    "api": ("from harness.api import Metrik\n", "harness.api has no Metrik"),
    "inner": ("import acme_inner.helper\n", "acme_inner.helper: it needs the package"),
    "module": (None, "there is no module acme_module"),
}
SAID = {
    "needs": "ModuleNotFoundError: No module named 'no_such_package' (acme_needs.py, line 1)",
    "syntax": "SyntaxError: ",
    "raising": "RuntimeError: no licence (acme_raising.py, line 1)",
    "attribute": "AttributeError: module 'acme_attribute' has no attribute 'Mine'",
    "api": "ImportError: cannot import name 'Metrik' from 'harness.api'",
    "inner": "ModuleNotFoundError: No module named 'nor_this' (helper.py, line 1)",
    "module": "ModuleNotFoundError: No module named 'acme_module'",
    "call": "ZeroDivisionError: division by zero (acme_call.py, line 2)",
}


@pytest.fixture
def broken(site: Site) -> Site:
    """A package for every way to fail, and a sound one."""
    for name, (text, _) in BROKEN.items():
        files = {} if text is None else {f"acme_{name}.py": text}
        if name == "inner":
            files = {"acme_inner/__init__.py": str(text) + "Mine = 1", "acme_inner/helper.py": "import nor_this\n"}
        site.install(f"acme-{name}", files, methods={f"acme-{name}": f"acme_{name}:Mine"})
    call = "def boom():\n    1 / 0\n\nboom()\nclass Mine: pass\n"
    site.install("acme-call", {"acme_call.py": call}, methods={"acme-call": "acme_call:Mine"})
    optional = "try:\n    import no_such_package\nexcept ImportError:\n    pass\n" + method("acme-sound")
    site.install("acme-sound", {"acme_sound.py": optional}, methods={"acme-sound": "acme_sound:Mine"})
    return site


def test_list_warns_of_what_cannot_be_imported_and_imports_nothing(broken: Site) -> None:
    """In a process of its own, as a user would see it."""
    code = (
        "import sys, harness.cli as c; sys.argv = ['mutoscope', 'list']\n"
        "try: c.main()\n"
        "except SystemExit: pass\n"
        "sys.exit(str([m for m in sys.modules if m.startswith('acme') or m == 'torch'] or '') or 0)"
    )
    env = {**os.environ, "PYTHONPATH": str(broken.folder), "COLUMNS": "220"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    for name, (_, reason) in BROKEN.items():
        said = line_of(done.stdout, f"acme-{name}")
        assert said.startswith("warning: cannot be imported: ")
        assert reason in said
        assert said.endswith(f"[acme-{name}]")
    assert line_of(done.stdout, "acme-sound") == "One of acme's. [acme-sound]"
    assert line_of(done.stdout, "acme-call") == "[acme-call]"  # only running it would tell
    assert "warning" not in line_of(done.stdout, "tqd")


@pytest.mark.parametrize("name", SAID)
def test_a_broken_package_is_an_error_when_it_is_named(broken: Site, run: Any, name: str) -> None:
    code, _, err = run("describe", f"acme-{name}")
    assert code == 2
    assert f'error: method "acme-{name}" cannot be imported: {SAID[name]}' in err
    assert err.splitlines()[1] == f"  it comes from acme_{name}:Mine of package acme-{name}"


def test_the_rest_keeps_working_beside_broken_packages(broken: Site, run: Any, tmp_path: Path) -> None:
    code, out, _ = run("run", "quick", "--methods", "base,acme-sound", "--dry-run", "--runs", tmp_path)
    assert code == 0
    assert "acme-sound seed 0" in out
    assert run("describe", "tqd")[0] == 0
    assert registry.find_part("element_weight", "acme-half").__module__ == "acme_sound"
    with pytest.raises(UserError) as error:
        registry.find_part("element_weight", "hafl")
    assert error.value.problem == (
        'no element_weight is called "hafl" (not looked into, since they cannot be imported: acme-api, acme-attribute, '
        "acme-call, acme-inner, acme-module, acme-needs, acme-raising, acme-syntax)"
    )


def test_all_metrics_that_can_run_are_evaluated_without_a_broken_one(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from harness.commands import evaluate

    site.install("acme", {"acme_judge.py": "1 / 0"}, metrics={"acme/judge": "acme_judge:Judge"})
    monkeypatch.setattr(registry.metrics, "names", lambda: ["acme/judge", "vbench/temporal_flickering"])
    request = evaluate.Request(Path(), (), {"protocol": "custom"}, None, None, None, Path(), ())
    assert [spec.name for spec in evaluate._metrics(request, Console(width=300))] == ["vbench/temporal_flickering"]
    reason = 'metric "acme/judge" cannot be imported: ZeroDivisionError: division by zero (acme_judge.py, line 1)'
    assert f"left out: acme/judge: {reason}" in capsys.readouterr().out
