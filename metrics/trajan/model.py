"""TRAJAN's track autoencoder (Allen et al. 2025, "Direct Motion Models for Assessing Generated Videos"), in PyTorch.

The numbers of tapnet/trajan/track_autoencoder.py. Work that cannot change them is left out: frames in which a track is
not visible, and of the decoder's last layer all but the token that is read; and what queries share is done once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.errors import UserError
from metrics.trajan.attention import Transformer
from metrics.trajan.noise import Stream, uniform
from metrics.trajan.readout import read_out
from metrics.trajan.sizes import OFFICIAL, Sizes, Stack

TRACKS_AT_ONCE = 128  # support tracks that the encoder holds in memory together
QUERIES_AT_ONCE = 32  # query points that the decoder does; as the official colab
LEVELS = 128.0  # to which a latent in [-1, 1] is rounded, in each half


@dataclass(frozen=True)
class Decoded:
    """What was predicted of query points: (x, y) in [0, 1] `[B, Q, T, 2]`, and two logits `[B, Q, T]`."""

    tracks: Tensor
    visible_logits: Tensor
    certain_logits: Tensor


class TrackAutoEncoder(nn.Module):
    """Encodes the tracks of a clip into a few latents, and says from them where any point of the clip goes.

    Positions are in [0, 1]: pixel p of a side of n pixels is at (p + 0.5) / n.
    """

    def __init__(self, sizes: Sizes = OFFICIAL, stream: Stream = "jax>=0.5") -> None:
        super().__init__()
        self.sizes, self.stream = sizes, stream

        def transformer(width: int, stack: Stack, source: int | None = None) -> Transformer:
            return Transformer(width, stack.layers, stack.hidden, sizes.heads, sizes.head_width, source)

        self.initializer = nn.Parameter(torch.empty(sizes.latents, sizes.encoder_width).normal_())
        self.track_token_projection = nn.Linear(6 * sizes.frequencies, sizes.track_width)
        self.input_track_transformer = transformer(sizes.track_width, sizes.over_time)
        self.tracks_to_latents = transformer(sizes.encoder_width, sizes.over_tracks, sizes.track_width)
        self.compressor = nn.Linear(sizes.encoder_width, sizes.latent_width)
        self.decompressor = nn.Linear(sizes.latent_width, sizes.decompressed_width)
        self.decompress_attn = transformer(sizes.decompressed_width, sizes.decompress)
        self.query_encoder = nn.Linear(sizes.query_features, sizes.decoder_width)
        self.track_readout_attn = transformer(sizes.decoder_width, sizes.read_out)
        self.track_predictor = nn.Linear(sizes.decoder_width, 4 * sizes.frames)

    def forward(self, tracks: Tensor, visible: Tensor, boundary: Tensor, queries: Tensor) -> Decoded:
        """`decode(encode(...))`."""
        return self.decode(self.encode(tracks, visible, boundary), queries)

    # ---- encoder -----------------------------------------------------------------------------------------------

    def encode(self, tracks: Tensor, visible: Tensor, boundary: Tensor) -> Tensor:
        """Latents `[B, latents, latent_width]`, not yet rounded.

        Args:
            tracks: (x, y) `[B, S, T, 2]`. visible: `[B, S, T]`, not zero where a point can be seen.
            boundary: `[B]`, the number of frames that are not padding.
        """
        tokens = self.track_tokens(tracks.flatten(0, 1), visible.flatten(0, 1) != 0, _per_track(boundary, tracks))
        start = self.initializer.expand(len(tracks), -1, -1)
        return self.compressor(self.tracks_to_latents(start, tokens.unflatten(0, tracks.shape[:2])))

    def track_tokens(self, tracks: Tensor, visible: Tensor, boundary: Tensor) -> Tensor:
        """One token for each track, zero for one that is never visible: `[N, T, 2]`, `[N, T]`, `[N]` -> `[N, width]`.

        A frame in which the track is not visible is neither looked at nor averaged: it is left out, and tracks of
        about the same number of frames are worked on together. A track that is visible only in padding is the
        exception: all its scores are equal (flax masks with the least float), so every frame has a part in it.
        """
        count = tracks.shape[1]
        time = torch.arange(count, device=tracks.device)
        keys = visible & (time < boundary[:, None])
        used = visible | (visible.any(1) & ~keys.any(1))[:, None]
        numbers = used.sum(1)
        filled = []
        order = numbers.argsort(stable=True)
        for part in order.split(TRACKS_AT_ONCE):
            kept = int(numbers[part].max())
            frames = used[part].to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :kept]
            rows = part[:, None]
            filled.append(
                self._over_time(tracks[rows, frames], frames / count, keys[rows, frames], visible[rows, frames])
            )
        return torch.cat(filled)[order.argsort()]

    def _over_time(self, places: Tensor, when: Tensor, keys: Tensor, seen: Tensor) -> Tensor:
        """Mean token over the frames in which a track is seen: `[n, L, 2]`, `[n, L]` three times -> `[n, width]`."""
        if not places.shape[1]:
            return places.new_zeros(len(places), self.sizes.track_width)
        points = torch.cat([places, when.to(places.dtype)[..., None]], -1)
        tokens = self.track_token_projection(self._sinusoids(points / self.sizes.track_scale))
        least = torch.finfo(places.dtype).min
        mask = torch.zeros_like(keys, dtype=places.dtype).masked_fill(~keys, least)[:, None, None]
        tokens = self.input_track_transformer(tokens, mask=mask)
        return (tokens * seen[..., None]).sum(1) / seen.sum(1, keepdim=True).clamp(min=1)

    # ---- decoder -----------------------------------------------------------------------------------------------

    def decode(self, latents: Tensor, queries: Tensor, at_once: int = QUERIES_AT_ONCE) -> Decoded:
        """Tracks of query points, and how visible and how certain they are.

        Args:
            latents: `[B, latents, latent_width]` as `encode` gives them.
            queries: `[B, Q, 3]`: the frame, rounded halves to even, and (x, y) there.
            at_once: queries worked on together; it does not change the numbers.

        Raises:
            UserError: a query frame is negative.
        """
        frames = queries[..., 0].round().long()
        if frames.numel() and int(frames.min()) < 0:
            raise UserError(f"a query is in frame {int(frames.min())}", "the first frame is 0")
        memory = self.decompress_attn(self.decompressor(self.quantise(latents)))
        asked = self._query_tokens(queries[..., 1:], frames)
        clips = [self._read(*clip, at_once) for clip in zip(memory, asked, frames, strict=True)]
        return self._decoded(torch.stack(clips))

    def quantise(self, latents: Tensor) -> Tensor:
        """Clipped, rounded, and given the fixed noise; gradients pass through the rounding."""
        clipped = latents.clamp(-1.0, 1.0)
        noise = torch.tensor(uniform(tuple(latents.shape), self.stream)).to(latents)
        rounded = (clipped * LEVELS).round() / LEVELS + noise / 128.0 - 1.0 / 256.0
        return clipped - (clipped - rounded).detach()

    def _query_tokens(self, places: Tensor, frames: Tensor) -> Tensor:
        """`[B, Q, 2]`, `[B, Q]` -> `[B, Q, decoder_width]`."""
        identity = self._sinusoids(places / self.sizes.track_scale)
        when = (frames / self.sizes.time_scale).floor().to(places.dtype)[..., None]
        return self.query_encoder(self._sinusoids(torch.cat([identity, when], -1) / self.sizes.track_scale))

    def _read(self, memory: Tensor, asked: Tensor, frames: Tensor, at_once: int) -> Tensor:
        """Predictions of one clip: `[latents, width]`, `[Q, decoder_width]`, `[Q]` -> `[Q, 4 frames]`.

        While training, when there are few queries of a frame, they go through the layers as they come; otherwise those
        of a frame go together, and share what the first layer makes of the latents.
        """
        stack = self.track_readout_attn
        if self.training or len(stack.layers) == 1:
            parts = [
                stack.first(torch.cat([tokens[:, None], self._with_time(memory, when)], 1))
                for tokens, when in zip(asked.split(at_once), frames.split(at_once), strict=True)
            ]
            return self.track_predictor(torch.cat(parts))
        out = asked.new_zeros(len(asked), 4 * self.sizes.frames)
        for frame in frames.unique():
            chosen = frames == frame
            latents = self._with_time(memory, frame[None])[0]
            out[chosen] = self.track_predictor(read_out(stack, asked[chosen], latents, at_once))
        return out

    def _with_time(self, memory: Tensor, frames: Tensor) -> Tensor:
        """The latents with a window of their own channels, which says where in time a query is, appended.

        `[latents, width]`, `[Q]` -> `[Q, latents, decoder_width]`; channels beyond the last are zero.
        """
        sizes, width = self.sizes, memory.shape[1]
        wide = nn.functional.pad(memory, (0, sizes.time_channels + sizes.time_step))
        windows = wide.unfold(1, sizes.time_channels, sizes.time_step)  # [latents, frames, channels]
        windows = windows.index_select(1, frames.clamp(max=-(-width // sizes.time_step))).transpose(0, 1)
        return torch.cat([memory.expand(len(frames), -1, -1), windows], -1)

    def _decoded(self, out: Tensor) -> Decoded:
        x, y, visible, certain = out.unflatten(-1, (4, self.sizes.frames)).unbind(-2)
        return Decoded(torch.stack([x, y], -1), visible, certain)

    def _sinusoids(self, x: Tensor) -> Tensor:
        """`[..., c]` -> `[..., c * 2 frequencies]`: of each number a block of sines, then one of cosines."""
        scales = torch.tensor([2 ** (i / 3) for i in range(self.sizes.frequencies)], dtype=x.dtype, device=x.device)
        angles = x[..., None] * scales
        return torch.cat([angles, angles + 0.5 * math.pi], -1).sin().flatten(-2)


def _per_track(boundary: Tensor, tracks: Tensor) -> Tensor:
    """`[B]` -> `[B * S]`."""
    return boundary.to(tracks.device).repeat_interleave(tracks.shape[1])
