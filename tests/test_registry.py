"""Names, near misses, duplicates, broken plugins."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import registry
from harness.api import Method, Options
from harness.errors import UserError

PLUGIN = '''
from harness.api import Metric, register_metric

@register_metric
class Brightness(Metric):
    """Mean of all pixels."""
    name = "test/brightness"
    def score(self, clip, features):
        return float(features.frames.mean()) / 255
'''


def test_built_in_names_are_found_without_importing_them() -> None:
    found = {name: line for name, line, _ in registry.methods.describe()}
    assert {"base", "supervised-uniform", "supervised-logitnormal", "supervised-const2", "tqd", "ltd"} <= set(found)
    assert all(found.values())


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


def test_a_plugin_file_registers_and_a_broken_one_says_why(tmp_path: Path) -> None:
    good = tmp_path / "my_brightness.py"
    good.write_text(PLUGIN)
    registry.load_plugin(str(good))
    assert registry.metrics.get("test/brightness").__doc__ == "Mean of all pixels."
    bad = tmp_path / "my_broken.py"
    bad.write_text("import no_such_module_anywhere")
    with pytest.raises(UserError, match="ModuleNotFoundError: No module named 'no_such_module_anywhere'"):
        registry.load_plugin(str(bad))
    with pytest.raises(UserError, match="no such file"):
        registry.load_plugin(str(tmp_path / "absent.py"))
