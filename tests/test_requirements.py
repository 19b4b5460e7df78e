"""What `mutoscope plan` finds out without loading anything: sizes, columns, what is missing, and what is a mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from harness import cli, config, suite
from harness.backbones.known import known_models
from harness.backbones.pipeline_folder import count_parameters
from harness.backbones.wan_folder import EMBEDDED, WAN
from harness.errors import UserError
from harness.requirements import Requirements, byte_text, count_text, find_out

WAN_13B = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
NETWORK, TEXT, VAE = 1_418_996_800, 5_680_910_336, 126_892_531


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def protocol(**changes: Any) -> dict[str, Any]:
    base = {
        "name": "big",
        "backbone": {"name": "wan", "path": WAN_13B},
        "clip": {"frames": 17, "height": 64, "width": 64, "fps": 8},
        "dataset": {"name": "shapes", "size": 4},
        "generate": {"steps": 50, "guidance": 5.0},
        "prompts": {"texts": ["a red square"]},
        "metrics": ["flow/magnitude"],
        "methods": {"base": {}},
    }
    return {**base, **changes}


def needs(**changes: Any) -> Requirements:
    return find_out(config.validate(suite.Suite, protocol(**changes), ""))


def test_memory_of_the_roles() -> None:
    """Float32: a trained role is weights, gradients and two moments; the frozen backbone serves every frozen role."""
    found = needs(methods={"base": {}, "tqd": {}, "dmd": {}})
    base, tqd, dmd = found.rows
    helpers = 4 * (TEXT + VAE)
    assert (base.memory.training, base.memory.generating) == (0, 4 * NETWORK + helpers)
    assert tqd.memory == (4 * (1 + 4) * NETWORK + helpers, 4 * 2 * NETWORK + helpers)
    assert dmd.memory == (4 * (1 + 2 * 4) * NETWORK + helpers, 4 * 3 * NETWORK + helpers)
    assert dmd.roles == {"student": "trained", "teacher": "frozen", "fake": "trained"}


def test_memory_in_half_precision_keeps_the_codec() -> None:
    (base,) = needs(backbone={"name": "wan", "path": WAN_13B, "dtype": "bfloat16"}).rows
    assert base.memory.generating == 2 * (NETWORK + TEXT) + 4 * VAE


def test_a_role_with_a_network_of_its_own_is_counted_as_it_is() -> None:
    """The interpolation network: a quarter of a million parameters, not another 1.3 billion."""
    found = needs(methods={"avd+vif": {}})
    rows = {row.row: row for row in found.rows}
    assert list(rows) == ["avd+vif", "avd", "vif"]
    frozen = 4 * (NETWORK + TEXT + VAE)
    own = 4 * 235_760  # parameters of the default interpolation network
    assert rows["vif"].memory == (frozen + 4 * own, frozen + own)
    assert rows["avd+vif"].memory.generating == frozen + 4 * NETWORK + own
    assert rows["avd+vif"].roles == {"student": "from avd", "interp": "from vif"}


def test_columns_abilities_and_evaluations() -> None:
    found = needs(methods={"base": {}, "tqd": {}, "ltd": {"sampler": {"guidance": 1.0}}})
    assert [row.columns for row in found.rows] == [(), ("caption", "mq", "vq"), ("caption",)]
    assert [row.nfe for row in found.rows] == [100, 100, 50]
    assert [item.name for item in found.missing] == [WAN_13B]


def test_what_is_missing_is_named_with_its_remedy() -> None:
    found = needs(dataset={"name": "folder", "path": "nowhere"}, prompts={"file": "p.txt"}, methods={"tqd": {}})
    items = {item.kind: item for item in found.missing}
    assert set(items) == {"weights", "prompts", "data"}
    assert items["weights"].remedy == f"get it with `hf download {WAN_13B}`"
    assert "download about 28.9 GB" in items["weights"].note
    assert items["data"].problem == "nowhere: no such folder"
    assert items["data"].note == "columns caption, mq, vq"
    assert items["prompts"].name == "p.txt"


def test_a_column_that_the_data_lacks() -> None:
    Path("scores.jsonl").write_text("")
    methods = {"tqd": {"time_law": {"motion": "liveliness"}, "retention": {"motion": "liveliness"}}}
    (_, column) = needs(methods=methods).missing
    assert (column.kind, column.name) == ("column", "liveliness")
    assert column.problem.endswith("needed by tqd")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"methods": {"tdq": {}}}, 'no method is called "tdq"'),
        ({"methods": {"tqd": {"k": 3}}}, r"methods\.tqd\.k: unknown key"),
        ({"backbone": {"name": "wen"}}, 'no backbone is called "wen"'),
        ({"metrics": ["flow/magnitud"]}, 'no metric is called "flow/magnitud"'),
        ({"methods": {"avd+vif": {"interp": "base"}, "base": {}}}, ""),
    ],
)
def test_mistakes_are_errors_not_needs(changes: dict[str, Any], problem: str, tmp_path: Path) -> None:
    if problem:
        with pytest.raises(UserError, match=problem):
            needs(**changes)
        return
    from harness.plan import make_plan  # a row that trains nothing cannot supply another: only the plan knows

    with pytest.raises(UserError, match="trains nothing"):
        make_plan(config.validate(suite.Suite, protocol(**changes), ""), tmp_path)


def test_a_mistake_is_not_hidden_by_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("bad.yaml").write_text(yaml.safe_dump(protocol(backbone={"name": "wan"}, prompts={"texts": ["x", "x"]})))
    monkeypatch.setattr("sys.argv", ["mutoscope", "plan", "bad.yaml", "--methods", "tdq"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert 'no method or row is called "tdq"' in capsys.readouterr().err


def test_sizes_come_from_the_files_where_they_are() -> None:
    """Headers alone are read; for the shipped folder they agree with the tensors."""
    from safetensors import safe_open

    found = count_parameters(WAN, EMBEDDED)
    for component, file in (("transformer", "diffusion_pytorch_model"), ("text_encoder", "model")):
        with safe_open(EMBEDDED / component / f"{file}.safetensors", "pt") as tensors:
            assert found[component] == sum(tensors.get_tensor(name).numel() for name in tensors.keys())  # noqa: SIM118
    assert set(found) == {"transformer", "text_encoder", "vae"}


def test_sharded_weights_are_counted_whole(tmp_path: Path) -> None:
    folder = tmp_path / "transformer"
    folder.mkdir()
    save_file({"a": torch.zeros(3, 5), "b": torch.zeros(())}, folder / "x-1.safetensors", {"format": "pt"})
    save_file({"c": torch.zeros(7)}, folder / "x-2.safetensors")
    index = {"weight_map": {"a": "x-1.safetensors", "b": "x-1.safetensors", "c": "x-2.safetensors"}}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    assert count_parameters(WAN, tmp_path) == {"transformer": 15 + 1 + 7}


def test_known_models_are_complete() -> None:
    for name, model in known_models().items():
        assert set(model.parameters) == set(model.stored), name
        assert {"text_encoder", "vae"} < set(model.parameters)
        assert model.source
    assert known_models()[WAN_13B].download == 4 * (NETWORK + TEXT + VAE)


def test_known_parameters_are_what_the_configurations_give() -> None:
    """Counted on the meta device: nothing is allocated."""
    from diffusers import CogVideoXTransformer3DModel, UNet3DConditionModel, WanTransformer3DModel

    wan = {"attention_head_dim": 128, "in_channels": 16, "out_channels": 16, "text_dim": 4096, "freq_dim": 256}
    with torch.device("meta"):
        nets = {
            WAN_13B: WanTransformer3DModel(num_attention_heads=12, ffn_dim=8960, num_layers=30, **wan),
            "THUDM/CogVideoX-5b": CogVideoXTransformer3DModel(
                num_attention_heads=48, num_layers=42, use_rotary_positional_embeddings=True
            ),
            "videocrafter2-diffusers": UNet3DConditionModel(cross_attention_dim=1024),
        }
    for name, net in nets.items():
        counted = sum(parameter.numel() for parameter in net.parameters())
        assert counted in known_models()[name].parameters.values()


def test_numbers_for_people() -> None:
    assert [byte_text(n) for n in (12, 5_675_987_200, 1.5e12, 999)] == ["12 B", "5.68 GB", "1.5 TB", "999 B"]
    assert [count_text(n) for n in (NETWORK, 24000, 126_892_531)] == ["1.42 B", "24 k", "127 M"]
