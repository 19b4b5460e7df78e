"""Every broken method is caught by the check that is about it, in words that name the fault; sound ones pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from harness import registry
from harness.api import Method
from harness.conformance import check_method, examine_method
from harness.conformance.bench import Bench
from harness.job import load_backbone
from tests.conformance import broken_training
from tests.conformance.asking import TOY, about_method, caught
from tests.conformance.broken_methods import BROKEN, KEEPING, Plain, WrongRole
from tests.conformance.broken_samplers import BROKEN as BROKEN_SAMPLERS
from tests.conformance.broken_samplers import Polite


def named(value: object) -> str:
    return getattr(value, "__name__", "-")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One runs folder, so that clips are encoded once."""
    return tmp_path_factory.mktemp("check")


@pytest.mark.filterwarnings("ignore:std:UserWarning")
@pytest.mark.parametrize(("kind", "check", "words"), [*BROKEN, *broken_training.BROKEN], ids=named)
def test_a_broken_method_is_caught(kind: type[Method], check: str, words: str, root: Path) -> None:
    caught(about_method(kind, check, root), check, words)


@pytest.mark.parametrize(("sampler", "check", "words"), BROKEN_SAMPLERS, ids=named)
def test_a_broken_sampler_is_caught(sampler: Any, check: str, words: str, root: Path) -> None:
    kind = type("Sampling", (Plain,), {"__doc__": "Plain.", "name": f"sampling/{sampler.__name__}"})
    kind.sampler = lambda self: sampler()
    kind.nfe = classmethod(lambda cls, config, generate: None)
    caught(about_method(kind, check, root), check, words)


def test_a_promised_nfe_that_the_sampler_does_not_keep_is_caught(root: Path) -> None:
    kind = type("Promising", (Plain,), {"__doc__": "Plain.", "name": "promising"})
    kind.nfe = classmethod(lambda cls, config, generate: 4)
    check = "network evaluations"
    caught(about_method(kind, check, root), check, "nfe() promises 4, the sampler says nfe = 3")


def test_a_sampler_may_refuse_clips_of_one_frame(root: Path) -> None:
    kind = type("Polite", (Plain,), {"__doc__": "Plain.", "name": "polite", "sampler": lambda self: Polite()})
    found = about_method(kind, "clip spec", root)["clip spec"]
    assert (found.verdict, found.message) == (
        "passed",
        "right shapes; refuses clips of one frame: one frame has no motion",
    )


@pytest.mark.parametrize("kind", KEEPING, ids=lambda kind: kind.name)
def test_a_sound_method_passes_everything(kind: type[Method]) -> None:
    report = check_method(kind, backbone=TOY)
    assert report.passed
    assert {check.name for check in report.of("not applicable")} == {"stages", "GPU", "sampler on a GPU"}
    assert report["resume"].message.startswith("killed after step 3 of 4")


def test_the_assertion_lists_every_failed_check_and_nothing_else() -> None:
    with pytest.raises(AssertionError) as error:
        check_method(WrongRole, backbone=TOY)
    lines = str(error.value).splitlines()
    assert lines[0] == 'method "broken/WrongRole" fails 1 of its checks:'
    assert len(lines) == 2
    assert lines[1].startswith('  gradient: the loss of "critic" gives gradient to "student"')


def test_what_comes_after_a_failure_is_not_tried(root: Path) -> None:
    kind = next(kind for kind, check, _ in BROKEN if check == "loss")
    report = examine_method(kind, backbone=TOY)
    assert report["resume"].verdict == "not applicable"
    assert report["resume"].message == "not tried: loss failed"
    assert report["generators"].verdict == "passed"


def test_the_callers_randomness_is_left_alone() -> None:
    import random

    import numpy as np

    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    examine_method(KEEPING[0], backbone=TOY)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == expected


def test_the_shared_backbone_is_as_before_after_a_method_that_spoils_it(tmp_path: Path) -> None:
    kind = next(kind for kind, _, _ in broken_training.BROKEN if kind.__name__ == "MovesBackbone")
    registry.methods.register(Plain)
    net = load_backbone(Bench(Plain, {}, TOY, tmp_path).plan(), "cpu").net
    before = [parameter.clone() for parameter in net.parameters()]
    assert examine_method(kind, backbone=TOY)["inputs untouched"].verdict == "failed"
    assert all(torch.equal(one, other) for one, other in zip(before, net.parameters(), strict=True))
    assert not any(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize(("last", "verdict"), [(b"a", "failed"), (b"b", "passed")])
def test_a_loss_that_changes_by_itself_hides_no_field(
    last: bytes, verdict: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the same, another one for other words: of the words only if the first words give the first loss again."""
    losses = iter([b"a", b"a", b"b", last])
    monkeypatch.setattr("harness.conformance.declaring.fingerprint", lambda *_: next(losses, b"a"))
    (found,) = [check for check in about_method(Plain, "needs", root).checks if check.name == "needs"]
    assert found.verdict == verdict
    assert ("depends on batch." in found.message) == (verdict == "failed")
