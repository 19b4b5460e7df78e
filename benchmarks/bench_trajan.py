"""TRAJAN's network with and without the work that cannot change its answers, in one run on one thread.

    python benchmarks/bench_trajan.py [--points 2048] [--frames 49]

The plain one computes every token of every layer for all 150 frames and all queries, as the official code is written;
its matrix products and its attention are the same. Weights are random, of the published size; answers are compared.
Times are CPU seconds, so that a busy machine does not count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from metrics.trajan.model import QUERIES_AT_ONCE, TRACKS_AT_ONCE, TrackAutoEncoder

SEEN = 0.8  # share of a clip's frames in which a track is visible


def plain_encode(net: TrackAutoEncoder, tracks: Tensor, visible: Tensor, boundary: Tensor) -> Tensor:
    """`[S, T, 2]`, `[S, T]`, `[]` -> latents `[1, ...]`: all frames of all tracks."""
    count = tracks.shape[1]
    when = (torch.arange(count) / count).expand(len(tracks), -1)
    keys = visible & (torch.arange(count) < boundary)
    parts = zip(*(a.split(TRACKS_AT_ONCE) for a in (tracks, when, keys, visible)), strict=True)
    tokens = torch.cat([net._over_time(*part) for part in parts])[None]
    return net.compressor(net.tracks_to_latents(net.initializer[None], tokens))


def plain_decode(net: TrackAutoEncoder, latents: Tensor, queries: Tensor) -> Tensor:
    """`[1, ...]`, `[Q, 3]` -> `[Q, 4 T]`: all tokens of all layers."""
    memory = net.decompress_attn(net.decompressor(net.quantise(latents)))[0]
    frames = queries[:, 0].round().long()
    asked = net._query_tokens(queries[:, 1:], frames)
    out = []
    for tokens, at in zip(asked.split(QUERIES_AT_ONCE), frames.split(QUERIES_AT_ONCE), strict=True):
        x = torch.cat([tokens[:, None], net._with_time(memory, at)], 1)
        out.append(net.track_predictor(net.track_readout_attn(x)[:, 0]))
    return torch.cat(out)


def timed(work: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """What it gives, and the CPU seconds it takes."""
    start = time.process_time()
    return work(), time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--points", type=int, default=256, help="support tracks, and as many queries; officially 2048")
    parser.add_argument("--frames", type=int, default=49, help="of the clip; the network always has 150")
    options = parser.parse_args()
    torch.set_num_threads(1)
    draws = torch.Generator().manual_seed(0)
    net = TrackAutoEncoder().eval().requires_grad_(False)
    length, boundary = net.sizes.frames, torch.tensor(options.frames)
    tracks = torch.rand(options.points, length, 2, generator=draws)
    visible = torch.rand(options.points, length, generator=draws) < SEEN
    visible &= torch.arange(length) < boundary
    queries = torch.rand(options.points, 3, generator=draws)
    queries[:, 0] = (queries[:, 0] * options.frames).floor()

    with torch.inference_mode():
        net.decode(torch.zeros(1, 128, 64), queries[None, :8])  # the first call pays for what is set up once
        latents, plain_encoder = timed(lambda: plain_encode(net, tracks, visible, boundary))
        quick, encoder = timed(lambda: net.encode(tracks[None], visible[None], boundary[None]))
        answers, plain_decoder = timed(lambda: plain_decode(net, latents, queries))
        found, decoder = timed(lambda: net.decode(latents, queries[None]).tracks)
    off = (found[0] - answers[:, : 2 * length].unflatten(1, (2, length)).transpose(1, 2)).abs().max()
    print(f"{options.points} + {options.points} points, {options.frames} of {length} frames, CPU seconds")
    print("part      plain   ours  ratio  largest difference")
    gap = (latents - quick).abs().max()
    print(f"encoder {plain_encoder:7.1f} {encoder:6.1f} {plain_encoder / encoder:6.2f}  {gap:.1e}")
    print(f"decoder {plain_decoder:7.1f} {decoder:6.1f} {plain_decoder / decoder:6.2f}  {off:.1e}")
    plain, ours = plain_encoder + plain_decoder, encoder + decoder
    print(f"both    {plain:7.1f} {ours:6.1f} {plain / ours:6.2f}")


if __name__ == "__main__":
    main()
