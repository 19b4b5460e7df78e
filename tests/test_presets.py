"""Every shipped suite can be planned offline in an empty folder; the papers' suites carry the papers' numbers."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest

from harness import cli, suite
from harness.api import Method
from harness.plan import resolve_rows

VBENCH = ["vbench-mini", "vbench-quality", "vbench-standard"]
PAPERS = sorted(set(suite.shipped()) - {"quick", "standard", *VBENCH})


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, an empty model cache, and no way out."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("plan used the network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("MUTOSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_the_papers_are_here() -> None:
    assert PAPERS == [
        "avd-wan21-1.3b",
        "ltd-wan21-1.3b",
        "msm-wan21-1.3b",
        "t2v-turbo-v2-videocrafter2",
        "tqd-cogvideox-5b",
        "tqd-wan21-1.3b",
    ]


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", sorted(suite.shipped()))
def test_plans_offline_in_an_empty_folder(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["mutoscope", "plan", name])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out = capsys.readouterr().out
    assert stop.value.code == 0, out
    assert f"{name}: what each row needs" in out
    for row in suite.load(name).methods:
        assert f" {row} " in out
    needy = name in (*PAPERS, *VBENCH)
    assert ("missing" in out) == needy
    assert ("no cells yet" in out) == needy


@pytest.mark.usefixtures("offline")
def test_vbench_names_its_weights_and_counts_its_clips(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["mutoscope", "plan", "vbench-mini"])
    with pytest.raises(SystemExit):
        cli.main()
    out = capsys.readouterr().out
    for file in ("dino_vitbase16_pretrain.pth", "ViT-L-14.pt", "grit_b_densecap_objectdet.pth"):
        assert file in out
    assert "dataset vbench  (85 prompts)" in out


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", [*PAPERS, *VBENCH])
def test_running_one_without_its_data_is_one_line(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["mutoscope", "run", name])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


def configs(name: str) -> dict[str, Any]:
    chosen = suite.load(name)
    return {row: config for row, (_, config) in resolve_rows(chosen, list(chosen.methods)).items()}


def test_tqd_numbers() -> None:
    """Section 4.1: batch 128 (Wan) and 96 (CogVideoX), 2 000 steps; kappa 4 to 30 and 2 to 20."""
    for name, batch, law in (("tqd-wan21-1.3b", 128, (4, 30)), ("tqd-cogvideox-5b", 96, (2, 20))):
        train, tqd = suite.load(name).train, configs(name)["tqd"]
        assert (train.steps, train.batch) == (2000, batch)
        assert tqd.time_law["name"] == "tqd_beta"
        assert (tqd.time_law["k_base"], tqd.time_law["k_max"]) == law
        assert tqd.retention["name"] == "tqd"
    assert configs("tqd-cogvideox-5b")["data-filter"].time_law["name"] == "uniform"
    assert configs("tqd-wan21-1.3b")["data-filter"].time_law["name"] == "logit_normal"


def test_ltd_numbers() -> None:
    """Two epochs of 3 860 clips at batch 16, lr 2e-5, window 3, 832x480, 81 frames; 50 steps at guidance 7.5."""
    chosen = suite.load("ltd-wan21-1.3b")
    assert (chosen.train.steps, chosen.train.batch, chosen.train.lr) == (2 * 3860 // 16, 16, 2e-5)
    assert (chosen.clip.frames, chosen.clip.height, chosen.clip.width) == (81, 480, 832)
    assert (chosen.generate.steps, chosen.generate.guidance) == (50, 7.5)
    weight = configs("ltd-wan21-1.3b")["ltd"].element_weight
    assert (weight["tau"], weight["norm"]) == (3, "voxel")


def test_msm_numbers() -> None:
    """14 000 iterations, 2e-6, 3 steps; both rows differ by the motion term alone."""
    chosen, rows = suite.load("msm-wan21-1.3b"), configs("msm-wan21-1.3b")
    assert (chosen.train.steps, chosen.train.lr, chosen.train.betas) == (14000, 2e-6, (0.9, 0.999))
    assert rows["msm"].times == (1.0, 0.757, 0.522)
    assert rows["msm"].scale == 4.5
    plain, motion = (rows[row].model_dump(exclude={"gradient_terms"}) for row in ("dmd", "msm"))
    assert plain == motion
    assert [term["name"] for term in rows["msm"].gradient_terms] == ["msm"]
    assert not rows["dmd"].gradient_terms


def test_avd_numbers() -> None:
    """Sections 4.1 and 9: 2e-6, ratio 5, clip 10, a 0.95, k 3, weights 2 and 0.05, threshold 0.6, CFG 5 (6 here)."""
    chosen, rows = suite.load("avd-wan21-1.3b"), configs("avd-wan21-1.3b")
    assert (chosen.train.batch, chosen.train.lr) == (24, 2e-6)
    for row in ("dmd", "dmd+tr", "dmd+tr+reg", "avd"):
        assert (rows[row].ratio, rows[row].clip, rows[row].scale, rows[row].score_shift) == (5, 10, 6, 5)
        assert rows[row].times == (1.0, 0.9, 0.757, 0.522)
    losses = {row: {part["name"]: part for part in rows[row].extra_losses} for row in ("dmd+tr", "dmd+tr+reg", "avd")}
    for parts in losses.values():
        assert (parts["temporal"]["w_temp"], parts["temporal"]["threshold"]) == (0.05, 0.6)
    adaptive = losses["avd"]["adaptive_regression"]
    assert (adaptive["w_reg"], adaptive["a"], adaptive["k"]) == (2.0, 0.95, 3.0)
    assert losses["dmd+tr+reg"]["regression"]["w_reg"] == 2.0
    assert chosen.train.lr * rows["vif"].rate == pytest.approx(1e-5)
    assert (rows["avd+vif"].student, rows["avd+vif"].interp, rows["avd+vif"].low_steps) == ("avd", "vif", 2)


def test_t2v_turbo_v2_numbers() -> None:
    """Section 4: 8 000 steps of 8 x 3 clips of 16 frames, 320x512, lr 1e-5; N 200, w 5 to 15, lambda 500, tau 0.5."""
    name = "t2v-turbo-v2-videocrafter2"
    chosen, rows = suite.load(name), configs(name)
    assert (chosen.train.steps, chosen.train.batch, chosen.train.lr) == (8000, 24, 1e-5)
    assert (chosen.clip.frames, chosen.clip.height, chosen.clip.width, chosen.clip.fps) == (16, 320, 512, 8)
    full = rows["t2v-turbo-v2"]
    for row in ("vcm", "t2v-turbo-v2-nomg", "t2v-turbo-v2"):
        assert (rows[row].solver_steps, rows[row].w_range, rows[row].sample_steps) == (200, (5, 15), 16)
        assert rows[row].target == "online"
    assert (full.beta_img, full.beta_v, full.reward_frames) == (0.2, 0.5, 2)
    assert (full.steering.m, full.steering.tau) == (0.05, 0.5)
    assert [len(rows[row].rewards) for row in ("vcm", "t2v-turbo-v2-nomg", "t2v-turbo-v2")] == [0, 3, 3]


@pytest.mark.parametrize("name", sorted(suite.shipped()))
def test_every_row_knows_its_evaluations(name: str) -> None:
    chosen = suite.load(name)
    for kind, config in resolve_rows(chosen, list(chosen.methods)).values():
        assert issubclass(kind, Method)
        assert kind.nfe(config, chosen.generate.model_dump())
