"""Random ViT-B-32.pt and ViT-L-14.pt: OpenAI's names in TorchScript archives, half precision where theirs are."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metrics.vbench.seeded import fill

if TYPE_CHECKING:
    from torch import Tensor, nn

HEAD = 64  # width of an attention head, from which readers tell their number
SIDE, CONTEXT, WORDS = 224, 77, 49408
SCALE = math.log(100)  # of the logits, in the published files
DEVIATIONS = {"positional_embedding": 0.1, "class_embedding": 0.1, "token_embedding.weight": 1.0}


@dataclass(frozen=True)
class Sizes:
    """What readers find out from the shapes."""

    embed: int
    patch: int
    width: int
    layers: int
    text_width: int
    text_layers: int


B32 = Sizes(embed=512, patch=32, width=768, layers=12, text_width=512, text_layers=12)
L14 = Sizes(embed=768, patch=14, width=1024, layers=24, text_width=768, text_layers=12)
SMALL_B32 = Sizes(embed=512, patch=32, width=128, layers=3, text_width=128, text_layers=2)
SMALL_L14 = Sizes(embed=768, patch=14, width=128, layers=2, text_width=64, text_layers=1)


def write_b32(path: Path, seed: int) -> None:
    """151 million parameters, 354 MB."""
    write(path, seed, B32)


def write_l14(path: Path, seed: int) -> None:
    """428 million parameters, 932 MB."""
    write(path, seed, L14)


def write_small_b32(path: Path, seed: int) -> None:
    """7 million parameters, nearly all in the vocabulary."""
    write(path, seed, SMALL_B32)


def write_small_l14(path: Path, seed: int) -> None:
    """4 million parameters, nearly all in the vocabulary."""
    write(path, seed, SMALL_L14)


def write(path: Path, seed: int, sizes: Sizes) -> None:
    """A TorchScript archive of tensors by name, without the published ones' code, which readers do not run."""
    import torch

    state = fill(_empty(sizes), seed, DEVIATIONS)
    state["logit_scale"] = torch.tensor(SCALE)
    state |= {name: torch.tensor(value) for name, value in _constants().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # "torch.jit.script is deprecated": the format is given
        torch.jit.script(_nest(state)).save(str(path))


def _constants() -> dict[str, int]:
    return {"input_resolution": SIDE, "context_length": CONTEXT, "vocab_size": WORDS}


def _empty(sizes: Sizes) -> dict[str, Tensor]:
    """Names, shapes and types of OpenAI's state, which are those of OpenCLIP's network, on the meta device."""
    import open_clip
    import torch

    vision = {"image_size": SIDE, "patch_size": sizes.patch, "width": sizes.width, "layers": sizes.layers}
    text = {"context_length": CONTEXT, "vocab_size": WORDS, "width": sizes.text_width, "layers": sizes.text_layers}
    with torch.device("meta"):
        net = open_clip.CLIP(
            sizes.embed,
            vision | {"head_width": HEAD},
            text | {"heads": sizes.text_width // HEAD},
            quick_gelu=True,
        )
    open_clip.convert_weights_to_lp(net, torch.float16)
    state: dict[str, Tensor] = net.state_dict()
    return state


def _nest(state: Mapping[str, Tensor]) -> nn.Module:
    """Modules without code whose state has these names."""
    from torch import nn

    root = nn.Module()
    for name, value in state.items():
        *path, leaf = name.split(".")
        node = root
        for part in path:
            if part not in node._modules:
                node.add_module(part, nn.Module())
            node = node.get_submodule(part)
        if value.is_floating_point():
            node.register_parameter(leaf, nn.Parameter(value, requires_grad=False))
        else:
            node.register_buffer(leaf, value)
    return root
