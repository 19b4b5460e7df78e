"""The network against the official JAX code on the same seeded parameters; `record.py` stored what that answered."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harness.errors import UserError
from metrics.trajan.checkpoint import build
from metrics.trajan.model import TrackAutoEncoder
from metrics.trajan.noise import Stream, uniform
from metrics.trajan.protocol import Episode
from metrics.trajan.scoring import ACCURACIES, RULES, accuracies, is_occluded
from metrics.trajan.sizes import OFFICIAL, SMALL, Sizes, Stack
from tests.metrics.trajan import seeded

HERE = Path(__file__).parent
SMALL_CLIPS = (24, (17, 24, 0), 20, 8)  # frames, boundaries, support, queries: as record.py
DEFAULT_CLIPS = (150, (49, 150), 40, 32)


@cache
def official(name: str) -> dict[str, NDArray[Any]]:
    with np.load(HERE / f"official_{name}.npz", allow_pickle=False) as archive:
        return dict(archive)


@cache
def network(stream: Stream = "jax>=0.5", default: bool = False) -> TrackAutoEncoder:
    return build(seeded.parameters(seeded.DEFAULT if default else seeded.SMALL), None, stream)


def given(default: bool = False) -> tuple[torch.Tensor, ...]:
    """Tracks, visibility, boundary and queries."""
    batch = seeded.inputs(*(DEFAULT_CLIPS if default else SMALL_CLIPS))
    names = ("support_tracks", "support_tracks_visible", "boundary_frame", "query_points")
    tracks, visible, boundary, queries = (torch.from_numpy(batch[name]) for name in names)
    return tracks, visible[..., 0], boundary, queries


def gap(ours: torch.Tensor, theirs: NDArray[Any]) -> float:
    return float(np.abs(ours.numpy() - theirs.reshape(ours.shape)).max())


def check_parity(name: str, stream: Stream, default: bool = False) -> None:
    theirs, net = official(name), network(stream, default)
    tracks, visible, boundary, queries = given(default)
    with torch.inference_mode():
        latents = net.encode(tracks, visible, boundary)
        assert gap(latents, theirs["latents"]) < 1e-5
        out = net.decode(torch.from_numpy(theirs["latents"]), queries, at_once=7)
        assert gap(out.tracks, theirs["tracks"]) < 3e-5
        assert gap(out.visible_logits, theirs["visible_logits"]) < 3e-5
        assert gap(out.certain_logits, theirs["certain_logits"]) < 3e-5
        whole = net.decode(latents, queries)
        assert gap(whole.tracks, theirs["chunked_tracks"]) < 5e-3
        assert gap(whole.visible_logits, theirs["chunked_visible_logits"]) < 5e-3


def test_official_outputs_are_matched() -> None:
    """With a track that is never visible, one that is so only in padding, and a clip without any real frame."""
    check_parity("small", "jax>=0.5")


def test_official_outputs_with_the_noise_of_older_jax_are_matched() -> None:
    check_parity("small_old_noise", "jax<0.5")
    new, old = official("small")["tracks"], official("small_old_noise")["tracks"]
    assert np.abs(new - old).max() > 1e-3  # the streams can be told apart


@pytest.mark.slow
def test_official_outputs_of_the_published_size_are_matched() -> None:
    assert network(default=True).sizes == OFFICIAL
    check_parity("default", "jax>=0.5", default=True)


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("rule", RULES)
def test_official_numbers_of_the_official_outputs_are_matched(rule: Any, size: int) -> None:
    theirs = official("small")
    width, height = ((832, 480), (256, 256))[size]
    targets, seen = seeded.targets(theirs["tracks"])
    none = np.zeros((0, 24, 2), np.float32)
    episode = Episode(none, none[..., 0] > 0, none[:, 0], targets[0], seen[0, ..., 0] > 0, 17)
    hidden = is_occluded(theirs["visible_logits"][0, ..., 0], theirs["certain_logits"][0, ..., 0], rule)
    found = accuracies(episode, theirs["tracks"][0], hidden, height, width)
    expected = theirs["numbers"][RULES.index(rule), size]
    assert tuple(found) == ACCURACIES
    assert 0.05 < found["average_jaccard"] < 0.95
    np.testing.assert_allclose(list(found.values()), expected, atol=1e-6)


def test_noise_is_that_of_jax() -> None:
    assert uniform((1, 128, 64)).ravel()[:3].tolist() == pytest.approx([0.947667, 0.9785799, 0.33229148], abs=1e-7)
    old = uniform((1, 128, 64), "jax<0.5")
    assert old.ravel()[:3].tolist() == pytest.approx([0.86217594, 0.38886762, 0.5483135], abs=1e-7)
    assert np.array_equal(uniform((3, 7, 5))[:1], uniform((1, 7, 5)))  # the new stream alone is the same for any batch
    assert not np.array_equal(uniform((2, 7, 5), "jax<0.5")[:1], uniform((1, 7, 5), "jax<0.5"))
    assert uniform((3, 7), "jax<0.5").shape == (3, 7)  # an odd number of values


def little() -> TrackAutoEncoder:
    torch.manual_seed(0)
    sizes = replace(SMALL, read_out=Stack(3, 96))
    return TrackAutoEncoder(sizes).eval().requires_grad_(False)


def episode_of(frames: int, batch: int = 2) -> tuple[torch.Tensor, ...]:
    draws = torch.Generator().manual_seed(1)
    tracks = torch.rand(batch, 30, frames, 2, generator=draws)
    visible = torch.rand(batch, 30, frames, generator=draws) > 0.5
    queries = torch.rand(batch, 9, 3, generator=draws)
    queries[..., 0] = (queries[..., 0] * frames).floor()
    return tracks, visible, queries


def test_what_is_left_out_does_not_change_the_tokens() -> None:
    """Each track by itself, with all its frames and a plain mask, against the sorted and shortened work."""
    net = little()
    tracks, visible, _ = episode_of(32, batch=1)
    visible[0, 3] = False
    visible[0, 4, :20], visible[0, 4, 20:] = False, True
    boundary = torch.tensor(20)
    tokens = net.track_tokens(tracks[0], visible[0], boundary.expand(30))
    when = torch.arange(32) / 32
    for row in range(30):
        keys = visible[0, row] & (torch.arange(32) < boundary)
        seen = visible[0, row]
        plain = net._over_time(tracks[0, row][None], when[None], keys[None], seen[None])
        assert torch.allclose(tokens[row], plain[0], atol=2e-6), row
    assert tokens[3].abs().max() == 0


def test_chunks_and_clips_do_not_change_the_answers() -> None:
    net = little()
    tracks, visible, queries = episode_of(17)
    latents = net.encode(tracks, visible, torch.tensor([17, 17]))
    whole = net.decode(latents, queries, at_once=100)
    for size in (1, 4):
        assert torch.allclose(net.decode(latents, queries, size).tracks, whole.tracks, atol=1e-6)
    assert torch.allclose(net.encode(tracks[:1], visible[:1], torch.tensor([17])), latents[:1], atol=1e-6)
    assert torch.allclose(net.decode(latents[:1], queries[:1]).tracks, whole.tracks[:1], atol=1e-6)


def test_only_the_first_token_of_the_last_layer_is_worked_out() -> None:
    stack = little().track_readout_attn
    x = torch.rand(5, 9, SMALL.decoder_width, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(stack.first(x), stack(x)[:, 0], atol=1e-6)


def test_sharing_the_first_layer_does_not_change_the_answers() -> None:
    net = little()
    tracks, visible, queries = episode_of(17)
    latents = net.encode(tracks, visible, torch.tensor([17, 17]))
    shared = net.decode(latents, queries)
    net.train()
    assert torch.allclose(net.decode(latents, queries, 4).tracks, shared.tracks, atol=2e-6)


def test_query_frames_round_halves_to_even_and_move_the_window() -> None:
    net = little()
    latents = torch.rand(1, SMALL.latents, SMALL.latent_width, generator=torch.Generator().manual_seed(3))
    place = torch.tensor([0.4, 0.6])

    def ask(frame: float) -> torch.Tensor:
        return net.decode(latents, torch.cat([torch.tensor([frame]), place])[None, None]).tracks

    assert torch.equal(ask(2.5), ask(2.0))
    assert torch.equal(ask(3.5), ask(4.0))
    assert not torch.allclose(ask(3.0), ask(4.0), atol=1e-4)
    assert torch.equal(ask(449.0), ask(400.0))  # beyond the channels the window is empty
    assert not torch.allclose(ask(450.0), ask(449.0), atol=1e-4)  # and only floor(t / 150) is told
    with pytest.raises(UserError, match="frame -1"):
        ask(-1.0)


def test_gradients_pass_the_rounding() -> None:
    net = TrackAutoEncoder(SMALL)
    latents = torch.full((1, SMALL.latents, SMALL.latent_width), 0.3, requires_grad=True)
    net.quantise(latents).sum().backward()
    assert latents.grad is not None
    assert latents.grad.unique().tolist() == [1.0]
    steps = (net.quantise(latents) - torch.tensor(uniform(tuple(latents.shape))) / 128 + 1 / 256) * 128
    assert torch.allclose(steps, torch.tensor(38.0), atol=1e-4)


def test_sizes_are_read_off_the_arrays() -> None:
    assert network().sizes == Sizes(
        frames=24, latents=16, latent_width=16, frequencies=8, track_width=64, encoder_width=128
    )
