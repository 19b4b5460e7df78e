"""Arrays by name out of TRAJAN's checkpoint files, into the network: every one, and none left over.

The official file (track_autoencoder_ckpt.npz) is flat: names joined by "/", kernels (in, out), heads apart. The file of
`trajan-shapes` holds the same names and shapes as safetensors.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from harness.errors import UserError
from metrics.trajan.model import TrackAutoEncoder
from metrics.trajan.noise import Stream
from metrics.trajan.sizes import Sizes, Stack

Arrays = Mapping[str, NDArray[Any]]

PREFIX = "params/"  # some people's copies have it
NAMED = 3  # arrays that a message names
STACKS = {
    "over_time": "input_track_transformer",
    "over_tracks": "tracks_to_latents",
    "decompress": "decompress_attn",
    "read_out": "track_readout_attn",
}


@dataclass(frozen=True)
class Place:
    """Where a parameter of ours is in the file: its name there, its shape there, and how it is laid out here."""

    name: str
    shape: tuple[int, ...]
    matrix: bool  # kernels are (in, out) there and (out, in) here

    def load(self, array: NDArray[Any]) -> torch.Tensor:
        """As a parameter of ours."""
        flat = np.asarray(array, np.float32).reshape(self._flat()) if self.matrix else np.asarray(array, np.float32)
        return torch.tensor(flat.T if self.matrix else flat)

    def store(self, tensor: torch.Tensor) -> NDArray[np.float32]:
        """As an array of the file."""
        value = tensor.detach().cpu().numpy()
        return np.ascontiguousarray(value.T if self.matrix else value).reshape(self.shape)

    def _flat(self) -> tuple[int, int]:
        split = 2 if self.name.endswith("dense_out/kernel") else 1  # (heads, head, out) there; else (in, heads, head)
        return int(np.prod(self.shape[:split])), int(np.prod(self.shape[split:]))


def layout(net: TrackAutoEncoder) -> dict[str, Place]:
    """Where each parameter of the network is in a file, by our name."""
    return {name: _place(name, tuple(value.shape), net.sizes) for name, value in net.state_dict().items()}


def _place(name: str, shape: tuple[int, ...], sizes: Sizes) -> Place:
    if name == "initializer":
        return Place("initializer/state_init", shape, matrix=False)
    module, _, kind = re.sub(r"\.layers\.(\d+)\.", r".layer_\1.", name).replace(".", "/").rpartition("/")
    if len(shape) == 1:
        return Place(f"{module}/{'bias' if kind == 'bias' else 'scale'}", shape, matrix=False)
    outputs, inputs = shape
    heads = (sizes.heads, sizes.head_width)
    known = {"dense_query": (inputs, *heads), "dense_key": (inputs, *heads), "dense_value": (inputs, *heads)}
    known["dense_out"] = (*heads, outputs)
    return Place(f"{module}/kernel", known.get(module.rpartition("/")[2], (inputs, outputs)), matrix=True)


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays by name, without a leading `params/`; nothing in the file is run.

    Raises:
        UserError: the file is missing, damaged, or holds something else than arrays of numbers.
    """
    if not path.is_file():
        raise UserError(f"TRAJAN's checkpoint is missing: {path}", "get it, or give its path")
    try:
        if path.suffix == ".safetensors":
            arrays = dict(load_file(path))
        else:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, SafetensorError) as error:
        raise UserError(f"{path} is damaged, or no archive of plain arrays: {error}", "download it again") from error
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.floating):
            raise UserError(f"{path}: {name} holds {array.dtype}, not floats", "is it another model's checkpoint?")
    return {name.removeprefix(PREFIX): array for name, array in arrays.items()}


def sizes_of(arrays: Arrays, where: str = "the checkpoint") -> Sizes:
    """The sizes of the network whose arrays these are; what no array tells (time step and scales) is the official one.

    Raises:
        UserError: an array that would tell is missing, or has not the dimensions that it should.
    """

    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        if name not in arrays or arrays[name].ndim != dimensions:
            found = f"has shape {arrays[name].shape}" if name in arrays else "is missing"
            raise UserError(f"{where}: {name} {found}", f"expected an array of {dimensions} dimensions")
        return arrays[name].shape

    def stack(name: str) -> Stack:
        numbers = [int(found[1]) for key in arrays if (found := re.match(rf"{name}/layer_(\d+)/", key))]
        return Stack(max(numbers, default=0) + 1, shape(f"{name}/layer_0/MLP_in/bias", 1)[0])

    latents, encoder = shape("initializer/state_init", 2)
    features, track = shape("track_token_projection/kernel", 2)
    latent, decompressed = shape("decompressor/kernel", 2)
    decoder = shape("query_encoder/bias", 1)[0]
    _, heads, head = shape(f"{STACKS['over_time']}/layer_0/self_att/dense_query/kernel", 3)
    return Sizes(
        frames=shape("track_predictor/bias", 1)[0] // 4,
        latents=latents,
        latent_width=latent,
        frequencies=features // 6,
        track_width=track,
        encoder_width=encoder,
        decoder_width=decoder,
        time_channels=decoder - decompressed,
        heads=heads,
        head_width=head,
        over_time=stack(STACKS["over_time"]),
        over_tracks=stack(STACKS["over_tracks"]),
        decompress=stack(STACKS["decompress"]),
        read_out=stack(STACKS["read_out"]),
    )


def check(arrays: Arrays, places: Mapping[str, Place], where: str) -> None:
    """Raises UserError, naming them, where arrays are missing, left over or of another shape."""
    wanted = {place.name: place.shape for place in places.values()}
    missing = [name for name in wanted if name not in arrays]
    extra = [name for name in arrays if name not in wanted]
    bent = [
        f"{name} is {arrays[name].shape}, expected {shape}"
        for name, shape in wanted.items()
        if name in arrays and arrays[name].shape != shape
    ]
    for kind, names in (("missing", missing), ("of no use", extra), ("misshaped", bent)):
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            verb = "array is" if len(names) == 1 else "arrays are"
            raise UserError(
                f"{where}: {len(names)} {verb} {kind}: {', '.join(names[:NAMED])}{more}",
                "is it another model's checkpoint?",
            )


def load(path: Path, sizes: Sizes | None = None, stream: Stream = "jax>=0.5") -> TrackAutoEncoder:
    """`build` from a file. Raises UserError, also when the file is not to be read."""
    return build(read(path), sizes, stream, str(path))


def build(
    arrays: Arrays, sizes: Sizes | None = None, stream: Stream = "jax>=0.5", where: str = "the checkpoint"
) -> TrackAutoEncoder:
    """The network, in evaluation mode on the CPU.

    Args:
        sizes: what it must be [default: whatever sizes the arrays have].
        stream: which JAX's noise is added to latents.
        where: what messages call the arrays.

    Raises:
        UserError: the arrays are not those of this network; names those that are missing, of no use or misshaped.
    """
    net = TrackAutoEncoder(sizes or sizes_of(arrays, where), stream)
    places = layout(net)
    check(arrays, places, where)
    net.load_state_dict({name: place.load(arrays[place.name]) for name, place in places.items()})
    return net.eval().requires_grad_(False)


def arrays_of(net: TrackAutoEncoder) -> dict[str, NDArray[np.float32]]:
    """A network's parameters under the names and in the shapes of the official file."""
    places = layout(net)
    return {places[name].name: places[name].store(value) for name, value in net.state_dict().items()}
