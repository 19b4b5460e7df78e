"""The table of VBench's files: complete, and asked before anything runs."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.weights import SHA256
from metrics.vbench.table import files, require, table

DINO = "dino_model/dino_vitbase16_pretrain.pth"
DINO_CODE = "dino_model/facebookresearch_dino_main"


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MUTOSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MUTOSCOPE_WEIGHTS", raising=False)


def test_every_file_has_a_size_a_digest_and_says_how_they_are_known() -> None:
    for entry in table().files:
        assert entry.size, entry.file
        assert entry.sha256, entry.file
        assert SHA256.fullmatch(entry.sha256), entry.file
        assert entry.known, entry.file
    assert sum(entry.size or 0 for entry in table().files) == 9_427_489_048


def test_digests_that_an_address_or_a_name_holds_agree() -> None:
    by_name = {Path(entry.file).name: entry for entry in table().files}
    for name in ("ViT-B-32.pt", "ViT-L-14.pt"):
        assert (by_name[name].sources[0].url or "").split("/")[-2] == by_name[name].sha256
    musiq = by_name["musiq_spaq_ckpt-358bb6af.pth"]
    assert (musiq.sha256 or "").startswith("358bb6af")


def test_each_dimension_reads_its_files() -> None:
    expected = {
        "subject_consistency": [DINO],
        "background_consistency": ["clip_model/ViT-B-32.pt"],
        "appearance_style": ["clip_model/ViT-B-32.pt"],
        "aesthetic_quality": ["clip_model/ViT-L-14.pt", "aesthetic_model/emb_reader/sa_0_4_vit_l_14_linear.pth"],
        "imaging_quality": ["pyiqa_model/musiq_spaq_ckpt-358bb6af.pth"],
        "dynamic_degree": ["raft_model/models/raft-things.pth"],
        "static_filter": ["raft_model/models/raft-things.pth"],
        "motion_smoothness": ["amt_model/amt-s.pth"],
        "overall_consistency": ["ViCLIP/ViClip-InternVid-10M-FLT.pth"],
        "temporal_style": ["ViCLIP/ViClip-InternVid-10M-FLT.pth"],
        "human_action": ["umt_model/l16_ptk710_ftk710_ftk400_f16_res224.pth"],
        "object_class": ["grit_model/grit_b_densecap_objectdet.pth"],
        "multiple_objects": ["grit_model/grit_b_densecap_objectdet.pth"],
        "color": ["grit_model/grit_b_densecap_objectdet.pth"],
        "spatial_relationship": ["grit_model/grit_b_densecap_objectdet.pth"],
        "scene": ["caption_model/tag2text_swin_14m.pth", "bert-base-uncased/model.safetensors"],
    }
    assert {purpose: list(files(purpose)) for purpose in table().purposes} == expected
    assert require("temporal_flickering", "official", None) == ()


def test_a_missing_file_is_named_with_the_command() -> None:
    with pytest.raises(UserError) as caught:
        require("subject_consistency", "native", None)
    assert caught.value.problem.endswith(f"weights/vbench: {DINO} is missing")
    assert caught.value.remedy == "fetch with `mutoscope weights fetch vbench --for subject_consistency`"


def test_the_official_engine_needs_more_and_returns_the_same(tmp_path: Path) -> None:
    weights = tmp_path / "ViCLIP" / "ViClip-InternVid-10M-FLT.pth"
    weights.parent.mkdir()
    weights.write_bytes(b"random")
    assert require("temporal_style", "native", str(tmp_path), unofficial=True) == (weights,)
    with pytest.raises(UserError, match=r"ViCLIP/bpe_simple_vocab_16e6\.txt\.gz is missing"):
        require("temporal_style", "official", str(tmp_path), unofficial=True)
    spec = importlib.util.find_spec("open_clip")
    assert spec
    assert spec.origin
    shutil.copy(Path(spec.origin).with_name("bpe_simple_vocab_16e6.txt.gz"), weights.parent)  # OpenAI's, unchanged
    assert require("temporal_style", "official", str(tmp_path), unofficial=True) == (weights,)


def test_code_that_is_not_the_published_is_never_accepted(tmp_path: Path) -> None:
    (tmp_path / DINO_CODE).mkdir(parents=True)
    (tmp_path / DINO).write_bytes(b"random")
    for name in ("hubconf.py", "vision_transformer.py", "utils.py"):
        (tmp_path / DINO_CODE / name).write_text("import os\n")
    with pytest.raises(UserError, match=r"hubconf\.py: not the published file: it has 10 bytes, expected 5653"):
        require("subject_consistency", "official", str(tmp_path), unofficial=True)


def test_published_weights_are_asked_for_by_default(tmp_path: Path) -> None:
    (tmp_path / DINO).parent.mkdir()
    (tmp_path / DINO).write_bytes(b"random")
    with pytest.raises(UserError) as caught:
        require("subject_consistency", "native", str(tmp_path))
    assert "it has 6 bytes, expected 343242485" in caught.value.problem
    assert "unofficial_weights" in caught.value.remedy


def test_asking_imports_nothing_heavy() -> None:
    code = (
        "import sys; from metrics.vbench.table import require\n"
        "require('temporal_flickering', 'native', None)\n"
        "print({'torch', 'cv2', 'huggingface_hub', 'numpy', 'rich'} & set(sys.modules))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout == "set()\n"
