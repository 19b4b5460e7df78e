"""Every built-in name: found by entry point, validated early, trains, composes with other parts and strangers'."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from harness import registry
from harness.api import Batch, Needs, UserError, register_part
from harness.registry import methods
from methods import supervised
from methods.supervised import ElementWeight, Retention, Supervised
from tests.methods.common import TRAINED, batch, method, options, services
from tests.toys import ToyBackbone, ToyOptions

CPU = torch.device("cpu")


def train(trained: Any, student: ToyBackbone, steps: int) -> list[float]:
    """Losses of a few optimiser steps on six fixed clips."""
    optimizer = torch.optim.Adam(student.net.parameters(), lr=1e-2)
    latents, losses = batch(range(6)).latent, []
    for step in range(steps):
        rows = trained.draw(np.random.default_rng(step), 4)
        loss, logs = trained.loss("student", batch(rows, latent=latents[rows], seed=step, student=student), step)
        assert all(math.isfinite(value) for value in logs.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("family", ["flow", "v", "eps"])
@pytest.mark.parametrize("name", TRAINED)
def test_every_name_trains(name: str, family: Any) -> None:
    student = ToyBackbone(ToyOptions(family=family), CPU)
    before = [p.detach().clone() for p in student.net.parameters()]
    losses = train(method(name, student=student), student, 3)
    assert all(math.isfinite(loss) for loss in losses)
    assert all(not torch.equal(old, new) for old, new in zip(before, student.net.parameters(), strict=True))


@pytest.mark.parametrize("name", ["supervised-logitnormal", "tqd", "ltd"])
def test_training_learns(name: str) -> None:
    student = ToyBackbone(ToyOptions(), CPU)
    losses = train(method(name, student=student), student, 120)
    assert np.mean(losses[-30:]) < 0.8 * np.mean(losses[:10])


def test_what_each_name_is() -> None:
    parts = {name: {kind: spec["name"] for kind, spec in options(name).parts.items()} for name in TRAINED}
    flat = {name: tuple(kinds.values()) for name, kinds in parts.items()}
    assert flat == {  # time_law, retention, element_weight
        "supervised-uniform": ("uniform", "none", "none"),
        "supervised-logitnormal": ("logit_normal", "none", "none"),
        "supervised-const2": ("logit_normal", "none", "const"),
        "data-filter": ("logit_normal", "tqd", "none"),
        "tqd": ("tqd_beta", "tqd", "none"),
        "ltd": ("logit_normal", "none", "ltd"),
    }
    assert options("supervised-const2").element_weight["value"] == 2.0
    law = options("tqd").time_law
    assert (law["k_base"], law["k_max"], law["floor"], law["norm"], law["apply_shift"]) == (4, 30, 1e-3, "set", False)
    weight = options("ltd").element_weight
    assert (weight["tau"], weight["norm"], weight["normalise"]) == (3, "voxel", False)
    assert options("ltd").p_drop == 0.1


def test_needs() -> None:
    scored = {name: methods.get(name).needs(options(name)).scores for name in TRAINED}
    assert {name for name, scores in scored.items() if scores == ("mq", "vq")} == {"tqd", "data-filter"}
    assert {scores for name, scores in scored.items() if name not in ("tqd", "data-filter")} == {()}
    assert methods.get("ltd").needs(options("ltd", retention="tqd")).scores == ("mq", "vq")


def test_defaults_written_out_are_the_same_configuration() -> None:
    short = options("tqd")
    long = options("tqd", time_law={"name": "tqd_beta", "k_base": 4, "k_max": 30.0, "t_min": 0.001})
    assert short.model_dump(mode="json") == long.model_dump(mode="json")
    assert options("ltd", time_law="uniform").time_law["name"] == "uniform"
    again = type(short).model_validate(short.model_dump(mode="json"))
    assert again == short


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"time_law": {"name": "logit_norml"}}, ('no time_law is called "logit_norml"', 'did you mean "logit_normal"')),
        ({"time_law": {"name": "tqd_beta", "k_mx": 3}}, ("time_law: tqd_beta", "k_mx", "unknown")),
        ({"time_law": {"name": "tqd_beta", "k_max": "many"}}, ("time_law: tqd_beta", "k_max", "number")),
        ({"time_law": {"name": "uniform", "t_min": 0.9, "t_max": 0.1}}, ("t_min 0.9 must be below t_max 0.1",)),
        ({"element_weight": {"name": "const"}}, ("element_weight: const", "value")),
        ({"element_weight": {"value": 2}}, ("element_weight", "a name")),
        ({"element_weight": 2}, ("element_weight", "a name")),
        ({"retention": {"name": "tqd", "mode": "sometimes"}}, ("retention: tqd", "mode", "reject")),
        ({"p_drop": 1.5}, ("p_drop", "less than or equal to 1")),
        ({"samplr": {}}, ("samplr: unknown key", 'did you mean "sampler"')),
    ],
)
def test_mistakes_name_the_option(settings: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        options("supervised-uniform", **settings)
    for word in words:
        assert word in str(error.value)


def test_the_untouched_backbone() -> None:
    base = methods.get("base")
    assert base.turns == ()
    assert base.needs(options("base")) == Needs(fields=())
    given = services(steps=3, guidance=2.0, shift=1.0)
    built, student = method("base", given), ToyBackbone(ToyOptions(), CPU)
    with pytest.raises(TypeError, match="trains nothing"):
        built.loss("student", batch([0]), 0)
    noise, cond = torch.randn(2, 3, 4, 2, 2, dtype=torch.float64), student.encode_text(["a", "b"])
    trained = method("supervised-uniform", given)
    samples = [m.sampler()(student, noise, cond, ()) for m in (built, trained)]
    assert built.sampler().nfe == 6
    assert torch.equal(*samples)


def test_the_equations_are_listed_with_their_symbols() -> None:
    for name in (*TRAINED, "base"):
        for equation in methods.get(name).equations():
            assert callable(equation)
            first = (equation.__doc__ or "").split("\n")[0]
            assert len(first) > 20, equation.__name__
    assert {e.__name__ for e in methods.get("tqd").equations()} > {"keep_probability", "beta_mean", "concentration"}
    assert {e.__name__ for e in methods.get("ltd").equations()} > {
        "latent_difference",
        "windowed_mean",
        "motion_weight",
    }


README = (Path(supervised.__file__).parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced examples of the trainer's README."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts a stranger might write; the time law is the README's."""
    monkeypatch.setattr(registry, "_parts", dict(registry._parts))
    (example,) = blocks("python")
    exec(example, {"__name__": "stranger"})

    @register_part("retention", "every-other")
    class EveryOther(Retention):
        def probability(self) -> Any:
            return np.arange(self.services.rows) % 2

    @register_part("element_weight", "snr")
    class Snr(ElementWeight):
        def __call__(self, batch: Batch, t: Tensor) -> Tensor:
            return (1 - t).reshape(-1, 1, 1, 1, 1)


@pytest.mark.usefixtures("strangers")
def test_parts_of_strangers_compose() -> None:
    settings = {"time_law": "late", "retention": "every-other", "element_weight": "snr"}
    student = ToyBackbone(ToyOptions(), CPU)
    mixed = method("supervised-uniform", student=student, **settings)
    assert set(mixed.draw(np.random.default_rng(0), 200).tolist()) == {1, 3, 5}
    loss, logs = mixed.loss("student", batch([0, 1, 2, 3], student=student), 0)
    assert torch.isfinite(loss)
    assert logs["weight"] == pytest.approx(1 - logs["t"])


def test_any_parts_compose() -> None:
    """Ablations are settings: TQD's law with LTD's weight and no retention."""
    student = ToyBackbone(ToyOptions(), CPU)
    mixed = method("ltd", student=student, time_law="tqd_beta", element_weight={"normalise": True})
    _, logs = mixed.loss("student", batch([0, 4], student=student), 0)
    assert isinstance(mixed, Supervised)
    assert logs["weight"] == pytest.approx(1.0)


def test_the_readme_rows_are_valid() -> None:
    rows = yaml.safe_load(blocks("yaml")[0])["methods"]
    assert len(rows) == 3
    for row in rows.values():
        method(row.pop("method"), **row)
