"""`mutoscope embedded train` in miniature: it learns, resumes to the same bytes, and writes a folder that loads."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from harness.backbones.wan import Wan, WanConfig
from harness.backbones.wan_folder import EMBEDDED
from harness.data.world import VOCABULARY, cast, long_caption, tokens
from harness.embedded import train
from harness.embedded.train import Recipe, Trainer, rate_factor
from harness.embedded.words import SPECIAL, build_tokenizer
from harness.errors import UserError

SMALL = Recipe(
    steps=6, batch=4, clips=12, codec_clips=12, layers=1, width=48, z_dim=8, static_dim=4, text_width=16,
    text_layers=1, warmup=2,
)  # fmt: skip
FILE = Path("transformer") / "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Codec and latents, made once."""
    folder = tmp_path_factory.mktemp("work")
    train.prepare(folder, train.load_codec(folder / "codec", SMALL), SMALL.seed, SMALL.clips, workers=1)
    return folder


def copy_of(work: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in (work / "codec", *work.glob("*.npy")):
        (folder / path.name).symlink_to(path)
    return folder


def test_a_killed_run_ends_with_the_same_bytes(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train.main(SMALL, tmp_path / "whole", copy_of(work, tmp_path / "a"))
    update, killed = Trainer.update, copy_of(work, tmp_path / "b")

    def mortal(self: Trainer, corpus: train.Corpus) -> float:
        if self.step == 4:
            raise KeyboardInterrupt
        return update(self, corpus)

    monkeypatch.setattr(Trainer, "update", mortal)
    with pytest.raises(KeyboardInterrupt):
        train.main(SMALL, tmp_path / "parts", killed, snapshot_minutes=0)
    monkeypatch.undo()
    assert torch.load(killed / "snapshot.pt", weights_only=True)["step"] == 4
    train.main(SMALL, tmp_path / "parts", killed)
    assert (tmp_path / "whole" / FILE).read_bytes() == (tmp_path / "parts" / FILE).read_bytes()
    wan = Wan.load(WanConfig(path=str(tmp_path / "parts")), torch.device("cpu"))
    assert wan.encode_text(["a red disk spins"]).shape == (1, 48, 16)
    assert wan.negative_prompt == ""


def test_another_seed_or_recipe_is_another_run(work: Path, tmp_path: Path) -> None:
    corpus = train.prepare(work, train.load_codec(work / "codec", SMALL), SMALL.seed, SMALL.clips, workers=1)
    trainer = Trainer(SMALL)
    trainer.save(tmp_path / "snapshot.pt")
    with pytest.raises(UserError, match="another recipe"):
        Trainer(dataclasses.replace(SMALL, batch=5)).restore(tmp_path / "snapshot.pt")
    Trainer(dataclasses.replace(SMALL, steps=9)).restore(tmp_path / "snapshot.pt")
    trainer.step = 5
    trainer.save(tmp_path / "snapshot.pt")
    with pytest.raises(UserError, match="planned for 6 steps"):
        Trainer(dataclasses.replace(SMALL, steps=9)).restore(tmp_path / "snapshot.pt")
    other, _ = train.draw(corpus, dataclasses.replace(SMALL, seed=1), 0)
    assert not torch.equal(train.draw(corpus, SMALL, 0)[0], other)


def test_first_loss_is_the_variance_of_the_target_and_falls(work: Path) -> None:
    recipe = dataclasses.replace(SMALL, steps=60, batch=12, decay=0.1)
    corpus = train.prepare(work, train.load_codec(work / "codec", recipe), recipe.seed, recipe.clips, workers=1)
    trainer = Trainer(recipe)
    losses = [trainer.update(corpus) for _ in range(40)]
    x0, _ = train.draw(corpus, recipe, 0)
    assert losses[0] == pytest.approx(1 + x0.square().mean().item(), rel=0.05)  # the output starts at zero
    assert sum(losses[-5:]) / 5 < 0.9 * losses[0]


def test_dropped_and_long_captions_come_as_often_as_said(work: Path) -> None:
    recipe = dataclasses.replace(SMALL, batch=4000)
    corpus = train.prepare(work, train.load_codec(work / "codec", recipe), recipe.seed, recipe.clips, workers=1)
    _, captions = train.draw(corpus, recipe, 0)
    empty = sum(c == "" for c in captions)
    assert empty / 4000 == pytest.approx(0.1, abs=0.02)
    assert sum(c in corpus.long for c in captions) / (4000 - empty) == pytest.approx(0.3, abs=0.03)


def test_rates() -> None:
    recipe = Recipe(steps=1000, warmup=100, decay=0.4)
    found = [rate_factor(step, recipe) for step in (0, 49, 99, 600, 800, 999)]
    assert found == pytest.approx([0.01, 0.5, 1.0, 1.0, 0.5, 0.0025])


def test_diverged_training_says_so() -> None:
    with pytest.raises(UserError, match="the loss is nan"):
        train.report(Trainer(SMALL), [math.nan], 0.1)


def test_every_caption_fits_the_tokenizer() -> None:
    tokenizer = build_tokenizer(VOCABULARY, Recipe().text_length)
    assert len(tokenizer) == len(SPECIAL) + len(VOCABULARY)
    captions = [long_caption(cast(3, i)) for i in range(500)]
    ids = tokenizer(captions).input_ids
    assert max(map(len, ids)) <= Recipe().text_length
    assert not any(tokenizer.unk_token_id in row for row in ids)
    assert tokenizer.convert_ids_to_tokens(ids[0]) == [*tokens(captions[0]), "</s>"]


def test_shipped_folder() -> None:
    """Small enough to ship, and its tokenizer speaks the world's language."""
    files = [p for p in EMBEDDED.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 9e6
    wan = Wan.load(WanConfig(), torch.device("cpu"))
    assert set(VOCABULARY) <= set(wan.pipe.tokenizer.get_vocab())
