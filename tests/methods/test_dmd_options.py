"""Options, parts and guards of the distribution matching family."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from harness import registry
from harness.api import Options, UserError, register_part
from harness.registry import methods
from methods.dmd import ExtraLoss, GradientTerm
from methods.dmd.equations import pseudo_loss
from tests.methods.common import options
from tests.methods.matching import NAMES, clips, matching, same, train, weights


def parameters(role: Any) -> list[Any]:
    return [parameter.grad for parameter in role.net.parameters()]


# ---- guards ----------------------------------------------------------------------------------------------------------


def test_warmup_leaves_the_student_bit_identical() -> None:
    method = matching("dmd", fake_warmup=4, ratio=2)
    before = weights(method.student)
    log = train(method, 4)
    assert same(before, weights(method.student))
    assert not method.optimizers["student"].state
    assert [row["warmup"] for row in log if row["role"] == "student"] == [1.0, 1.0]
    train(method, 1, start=4)
    assert not same(before, weights(method.student))


def test_an_exploding_fake_score_ends_the_run() -> None:
    method = matching("dmd", fake_limit=50.0)
    method.watch(0.5, 0)
    method.watch(24.9, 1)
    with pytest.raises(UserError, match=r"the fake score's loss is 25\.1 at step 2, it began at 0\.5"):
        method.watch(25.1, 2)
    other = matching("dmd", fake_limit=50.0)
    other.load_state_dict(method.state_dict())
    assert other.first_fake == 0.5
    fresh = matching("dmd")
    fresh.watch(math.nan, 0)  # left to the loop, which skips the step
    assert math.isnan(fresh.first_fake)


def test_a_student_on_the_teachers_answer_has_a_finite_gradient() -> None:
    """n = 0: every network predicts its input's negative, so x = real exactly."""
    method = matching("dmd", guidance=1.0)
    with torch.no_grad():
        for role in method.roles.values():
            for parameter in role.net.parameters():
                parameter.zero_()
    loss, logs = method.loss("student", clips(), 0)
    loss.backward()
    assert math.isfinite(loss.item())
    assert all(torch.isfinite(grad).all() for grad in parameters(method.student) if grad is not None)
    assert all(math.isfinite(value) for value in logs.values())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"times": (0.5, 0.9)}, ("times", "descend")),
        ({"times": (1.2, 0.9)}, ("times", "(0, 1]")),
        ({"times": ()}, ("times",)),
        ({"ratio": 0}, ("ratio",)),
        ({"score_min": 0.9, "score_max": 0.5}, ("score_min 0.9 must be below score_max 0.5",)),
        ({"gradient_terms": [{"name": "msn"}]}, ('no gradient_term is called "msn"', 'did you mean "msm"')),
        ({"gradient_terms": [{"name": "msm", "lamda": 1}]}, ("gradient_terms", "lamda", "unknown")),
        ({"gradient_terms": ["msm", "msm"]}, ("listed twice",)),
        ({"gradient_terms": "msm"}, ("expected a list",)),
        ({"extra_losses": {"temporal": 0.1}}, ("name to options",)),
        ({"extra_losses": [{"name": "temporal", "threshold": "sometimes"}]}, ("extra_losses", "threshold")),
        ({"guidence": 2}, ("guidence: unknown key", 'did you mean "guidance"')),
    ],
)
def test_mistakes_name_the_option(settings: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        options("dmd", **settings)
    for word in words:
        assert word in str(error.value)


# ---- parts -----------------------------------------------------------------------------------------------------------


def test_parts_are_settings_of_any_row() -> None:
    """What the brief of a suite may say, in both spellings, and twice through JSON."""
    listed = options(
        "dmd",
        gradient_terms=[{"name": "msm", "lambda_": 0.5, "adjoint": "next"}],
        extra_losses=[{"name": "temporal", "threshold": "relative"}],
    )
    mapped = options("dmd", gradient_terms={"msm": {"lambda_": 0.5, "adjoint": "next"}}, extra_losses={"temporal": {}})
    assert listed == mapped
    assert type(listed).model_validate(listed.model_dump(mode="json")) == listed
    assert listed.gradient_terms[0]["norm"] == "shared"
    merged = options("avd", extra_losses={"temporal": {"w_temp": 0.2}})  # the preset's other loss stays
    assert [(spec["name"], spec.get("w_temp")) for spec in merged.extra_losses] == [
        ("temporal", 0.2),
        ("adaptive_regression", None),
    ]
    without = options("avd", extra_losses={"temporal": None})
    assert [spec["name"] for spec in without.extra_losses] == ["adaptive_regression"]
    assert options("msm", gradient_terms=[]).gradient_terms == ()


def test_parts_of_strangers_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_parts", dict(registry._parts))

    class PullOptions(Options):
        reads: ClassVar[tuple[str, ...]] = ("latent",)
        weight: float = 0.5

    @register_part("gradient_term", "double")
    class Double(GradientTerm):
        def __call__(self, match: Any) -> tuple[Tensor, Tensor]:
            return pseudo_loss(match.x, match.g), match.g

    @register_part("extra_loss", "pull")
    class Pull(ExtraLoss):
        Config = PullOptions

        def __call__(self, turn: Any) -> tuple[Tensor | None, dict[str, Tensor | float]]:
            gap = (turn.match.x - turn.batch.latent).square().mean()
            return self.config.weight * gap, {"pull": gap}

    settings: dict[str, Any] = {"gradient_terms": ["double"], "extra_losses": ["pull"]}
    plain, mixed = matching("dmd"), matching("dmd", **settings)
    assert methods.get("dmd").needs(mixed.config).fields == ("latent", "prompt")
    loss, _ = plain.loss("student", clips(), 0)
    more, logs = mixed.loss("student", clips(), 0)
    assert more.item() == pytest.approx(2 * loss.item() + 0.5 * logs["pull"], rel=1e-12)
    assert logs["total_f1"] == pytest.approx(2 * logs["dmd_f1"])


def test_the_equations_are_listed_with_their_symbols() -> None:
    for name in NAMES:
        found = methods.get(name).equations()
        assert len({equation.__name__ for equation in found}) == len(found)
        for equation in found:
            assert len((equation.__doc__ or "").split("\n")[0]) > 20, equation.__name__
    assert {equation.__name__ for equation in methods.get("dmd").equations()} > {
        "score_gradient",
        "normaliser",
        "matching_loss",
        "score_times",
    }
