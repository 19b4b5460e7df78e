"""Every example of the README runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import torch
import yaml

from harness import cli, config, registry, suite
from harness.api import Batch, Noise, Services
from harness.executors import InProcess
from harness.plan import make_plan
from harness.store import RunDir
from tests.toy_plugins import toy_suite

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FURTHER = (ROOT / "metrics" / "vbench" / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"```(\w+)\n(.*?)```", flags=re.DOTALL)
BLOCKS = FENCE.findall(README)
PYTHON = [text for language, text in BLOCKS if language == "python"]
SHELL = [text for language, text in (*BLOCKS, *FENCE.findall(FURTHER)) if language == "sh"]
LINES = [line for text in SHELL for line in text.splitlines()]
COMMANDS = [shlex.split(line, comments=True) for line in LINES if "mutoscope" in line]


def test_the_two_commands_are_the_set_up() -> None:
    first, second = LINES[:2]
    assert first.startswith("pip install uv && uv run mutoscope run quick")
    assert second.startswith("uv run pytest")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_line_parses(words: list[str]) -> None:
    words = words[words.index("mutoscope") + 1 :]
    command: Any = cli.app.commands[words[0]]
    given = words[1:]
    if isinstance(command, click.Group):
        command, given = command.commands[words[1]], words[2:]
    with command.make_context(words[0], given) as context:
        assert context.params
    if words[0] == "run" and words[1] in suite.shipped():
        sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
        suite.load(words[1], config.parse_sets(sets))


def test_the_method_and_the_metric_run(tmp_path: Path) -> None:
    plugins = ["tests.toy_plugins"]
    for number, text in enumerate(PYTHON):
        path = tmp_path / f"readme_{number}.py"
        path.write_text(text)
        plugins.append(str(path))
    whole = toy_suite(methods={"my-method": {}}, metrics=["my/brightness"])
    plan = make_plan(config.validate(suite.Suite, yaml.safe_load(yaml.safe_dump(whole)), ""), tmp_path, plugins=plugins)
    (outcome,) = InProcess().run(plan, "cpu", lambda *_: None)
    assert outcome.problems == ()
    assert RunDir(outcome.cell.path).done
    weight = registry.make_part("element_weight", {"name": "min_snr"}, Services({}, 1))
    t = torch.tensor([0.2, 0.5], dtype=torch.float64)
    one = torch.zeros(2, 1, 1, 1, 1)
    batch = Batch(torch.arange(2), one, one, ["", ""], {}, Noise(0, rows=(0, 2, 2)))
    assert weight(batch, t).flatten().tolist() == pytest.approx([5 * 0.04, 0.25])
