"""The sizes of a track autoencoder. The defaults are the official ones (tapnet/trajan/track_autoencoder.py)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stack:
    """One transformer: how many layers, and how wide their hidden layer is."""

    layers: int
    hidden: int


@dataclass(frozen=True)
class Sizes:
    """Every size and constant of the network; two networks with equal sizes have the same arrays."""

    frames: int = 150  # that it is asked about, and predicts
    latents: int = 128
    latent_width: int = 64
    frequencies: int = 32
    track_width: int = 256
    encoder_width: int = 512
    decoder_width: int = 1024
    time_channels: int = 128  # of the decoder's width, those that say which frame a query is in
    heads: int = 8
    head_width: int = 64
    over_time: Stack = Stack(2, 1024)  # input_track_transformer
    over_tracks: Stack = Stack(6, 2048)  # tracks_to_latents
    decompress: Stack = Stack(3, 2048)  # decompress_attn
    read_out: Stack = Stack(4, 1024)  # track_readout_attn
    time_step: int = 5  # channels by which the window moves from one query frame to the next
    time_scale: float = 150.0
    track_scale: float = 1.0

    @property
    def decompressed_width(self) -> int:
        return self.decoder_width - self.time_channels

    @property
    def query_features(self) -> int:
        """(x, y) through the sinusoids, and the frame; all of it through the sinusoids again."""
        return (4 * self.frequencies + 1) * 2 * self.frequencies


OFFICIAL = Sizes()
SMALL = Sizes(  # of `trajan-shapes`
    frames=32,
    latents=12,
    latent_width=20,
    frequencies=14,
    track_width=64,
    encoder_width=96,
    decoder_width=128,
    time_channels=32,
    heads=3,
    head_width=32,
    over_time=Stack(2, 128),
    over_tracks=Stack(2, 192),
    decompress=Stack(2, 192),
    read_out=Stack(1, 384),
    time_step=2,
)
