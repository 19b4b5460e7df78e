"""A user's mistake is one line with the dotted path and a suggestion."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness import config, suite
from harness.errors import UserError

SMALL = {
    "name": "small",
    "backbone": {"name": "toy"},
    "dataset": {"name": "toys", "size": 8},
    "prompts": {"texts": ["a"]},
    "metrics": ["m"],
    "methods": {"x": None},
}


def test_sets_nest_and_parse_yaml_values() -> None:
    sets = ["train.steps=50", "train.lr=1.0e-4", "train.betas=[0.9, 0.95]", "dataset.path=../clips", "a.b=true"]
    assert config.parse_sets(sets) == {
        "train": {"steps": 50, "lr": 1e-4, "betas": [0.9, 0.95]},
        "dataset": {"path": "../clips"},
        "a": {"b": True},
    }


@pytest.mark.parametrize("bad", ["train.steps", "=3", "a..b=1"])
def test_a_malformed_set_is_refused(bad: str) -> None:
    with pytest.raises(UserError, match=r"expected key\.path=value"):
        config.parse_sets([bad])


def test_merge_is_deep_but_another_plugin_starts_afresh() -> None:
    base = {"train": {"steps": 5, "lr": 1.0}, "dataset": {"name": "shapes", "preset": "set-a", "size": 9}}
    assert config.merge(base, {"train": {"steps": 7}})["train"] == {"steps": 7, "lr": 1.0}
    assert config.merge(base, {"dataset": {"size": 3}})["dataset"] == {"name": "shapes", "preset": "set-a", "size": 3}
    changed = config.merge(base, {"dataset": {"name": "folder", "path": "x"}})
    assert changed["dataset"] == {"name": "folder", "path": "x"}


def test_an_unknown_key_names_its_path_and_the_nearest_key() -> None:
    with pytest.raises(UserError) as error:
        config.validate(suite.Suite, {**SMALL, "train": {"stpes": 3}}, "")
    assert error.value.problem == "train.stpes: unknown key"
    assert error.value.remedy == 'did you mean "steps"?'


def test_a_wrong_value_names_its_path() -> None:
    with pytest.raises(UserError, match=r"^train\.steps: .*greater than or equal to 1 \(got 0\)"):
        config.validate(suite.Suite, {**SMALL, "train": {"steps": 0}}, "")


def test_a_missing_key_names_its_path() -> None:
    with pytest.raises(UserError, match=r"^backbone: missing"):
        config.validate(suite.Suite, {k: v for k, v in SMALL.items() if k != "backbone"}, "")


def test_prompts_come_from_exactly_one_place() -> None:
    with pytest.raises(UserError, match=r"^prompts: give exactly one of texts, file, dataset"):
        config.validate(suite.Suite, {**SMALL, "prompts": {"texts": ["a"], "file": "b.txt"}}, "")


def test_a_mistyped_suite_gets_a_suggestion() -> None:
    with pytest.raises(UserError) as error:
        suite.load("quikc")
    assert error.value.problem == 'no suite is called "quikc"'
    assert error.value.remedy == 'did you mean "quick"?'


def test_the_digest_ignores_rows_seeds_and_prose_and_nothing_else() -> None:
    whole = config.validate(suite.Suite, SMALL, "")
    same = whole.model_copy(update={"title": "t", "methods": {"y": {}}, "seeds": (3,)})
    other = whole.model_copy(update={"generate": suite.Generate(steps=7)})
    assert config.digest(same.protocol()) == config.digest(whole.protocol())
    assert config.digest(other.protocol()) != config.digest(whole.protocol())


def test_digest_is_pinned() -> None:
    assert config.digest({"b": 1, "a": [1.5, "é"]}) == config.digest({"a": [1.5, "é"], "b": 1})
    assert config.digest({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


def test_set_reaches_the_options_of_a_listed_metric(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({**SMALL, "metrics": ["m", {"name": "vbench", "protocol": "standard"}]}))
    changed = suite.load(str(path), config.parse_sets(["metrics.vbench.device=cpu", "metrics.m.level=2"])).metrics
    assert changed == (
        {"name": "m", "level": 2},
        {"name": "vbench", "protocol": "standard", "device": "cpu"},
    )
    path.write_text(yaml.safe_dump({**SMALL, "metrics": ["a@b-0.1.1", "m"]}))
    dotted = suite.load(str(path), config.parse_sets(["metrics.a@b-0.1.1.device=cpu"])).metrics
    assert dotted == ({"name": "a@b-0.1.1", "device": "cpu"}, {"name": "m"})
    path.write_text(yaml.safe_dump({**SMALL, "metrics": ["m", {"name": "vbench", "protocol": "standard"}]}))
    for bad, said in (("metrics.vbnch.device=cpu", 'lists no "vbnch"'), ("metrics.m=2", "expected an option")):
        with pytest.raises(UserError, match=said):
            suite.load(str(path), config.parse_sets([bad]))


def test_metrics_as_a_mapping_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({**SMALL, "metrics": {"m": {"level": 2}}}))
    with pytest.raises(UserError, match="metrics"):
        suite.load(str(path))
