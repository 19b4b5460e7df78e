"""ViCLIP's network (InternVid, Wang et al. 2023), with the parameter names of its published checkpoint.

A CLIP whose image tower attends over the patches of all frames at once. Sizes and names are those of
OpenGVLab/InternVideo, Data/InternVid/viclip. In pre-training it drops 90 % of the patches; scoring keeps all of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from harness.errors import UserError
from harness.networks.checkpoints import fill, read

if TYPE_CHECKING:
    from open_clip import SimpleTokenizer

HEAD = 64  # width of an attention head
SCALE = 1.702  # QuickGELU: x sigmoid(1.702 x), as in OpenAI's CLIP


@dataclass(frozen=True)
class Sizes:
    """The published checkpoint's sizes."""

    side: int = 224
    patch: int = 14
    frames: int = 8
    width: int = 1024
    layers: int = 24
    words: int = 49408
    context: int = 32
    text_width: int = 768
    text_layers: int = 12
    embed: int = 768

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Sizes:
        """The sizes of a checkpoint. KeyError when it is not one of ViCLIP's."""
        width, _, _, patch, _ = state["vision_encoder.conv1.weight"].shape
        places = len(state["vision_encoder.positional_embedding"]) - 1
        context, text_width = state["text_encoder.positional_embedding"].shape
        return cls(
            side=patch * round(places**0.5),
            patch=patch,
            frames=state["vision_encoder.temporal_positional_embedding"].shape[1],
            width=width,
            layers=_layers(state, "vision_encoder"),
            words=len(state["text_encoder.token_embedding.weight"]),
            context=context,
            text_width=text_width,
            text_layers=_layers(state, "text_encoder"),
            embed=state["vision_encoder.proj"].shape[1],
        )


def _layers(state: Mapping[str, Tensor], tower: str) -> int:
    return sum(name.startswith(tower) and name.endswith(".ln_1.weight") for name in state)


class QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(SCALE * x)


class Block(nn.Module):
    """Attention and a two-layer network, each on normalised input and added to it; `[L, B, D]`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, max(width // HEAD, 1))
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        layers = (("c_fc", nn.Linear(width, 4 * width)), ("gelu", QuickGELU()), ("c_proj", nn.Linear(4 * width, width)))
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        added: Tensor = x + self.mlp(self.ln_2(x))
        return added


class Blocks(nn.Module):
    """Blocks on tokens `[B, L, D]`; inside, the batch is second, or torch takes a path a third slower on CPUs."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x.transpose(0, 1)
        for block in self.resblocks:
            x = block(x, mask)
        return x.transpose(0, 1)


class VisionEncoder(nn.Module):
    """Normalised frames `[B, 3, T, H, W]` to embeddings `[B, D]`."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, patch = sizes.width, sizes.patch
        self.conv1 = nn.Conv3d(3, width, (1, patch, patch), (1, patch, patch), bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5)
        places = (sizes.side // patch) ** 2 + 1
        self.positional_embedding = nn.Parameter(torch.randn(places, width) * width**-0.5)
        self.temporal_positional_embedding = nn.Parameter(torch.zeros(1, sizes.frames, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Blocks(width, sizes.layers)
        self.proj = nn.Parameter(torch.randn(width, sizes.embed) * width**-0.5)

    def forward(self, video: Tensor) -> Tensor:
        patches = self.conv1(video).flatten(3).permute(0, 2, 3, 1)  # [B, T, places, width]
        patches = patches + self.positional_embedding[1:] + self.temporal_positional_embedding[:, :, None]
        summary = (self.class_embedding + self.positional_embedding[0]).expand(len(video), 1, -1)
        x = self.transformer(self.ln_pre(torch.cat([summary, patches.flatten(1, 2)], 1)))
        embedding: Tensor = self.ln_post(x[:, 0]) @ self.proj
        return embedding


class TextEncoder(nn.Module):
    """Token numbers `[B, context]` to embeddings `[B, D]`, read off at the end token, which is the largest number."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.text_width
        self.token_embedding = nn.Embedding(sizes.words, width)
        self.positional_embedding = nn.Parameter(torch.randn(sizes.context, width) * 0.01)
        self.transformer = Blocks(width, sizes.text_layers)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, sizes.embed) * width**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token_embedding(tokens) + self.positional_embedding
        later = torch.full((tokens.shape[1], tokens.shape[1]), -torch.inf, dtype=x.dtype, device=x.device).triu(1)
        x = self.ln_final(self.transformer(x, later))
        embedding: Tensor = x[torch.arange(len(x), device=x.device), tokens.argmax(-1)] @ self.text_projection
        return embedding


class ViCLIP(nn.Module):
    """Both towers. `temp` is the temperature of pre-training; a cosine does not need it, the checkpoint has it."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.vision_encoder, self.text_encoder = VisionEncoder(sizes), TextEncoder(sizes)
        self.temp = nn.Parameter(torch.tensor(0.01))


def load(path: Path, who: str) -> ViCLIP:
    """The network with the weights of a file like ViClip-InternVid-10M-FLT.pth, of any size; float32 on the CPU.

    Raises:
        UserError: the file is not that.
    """
    state = read(path, who, "model")
    try:
        sizes = Sizes.of(state)
    except (KeyError, ValueError) as error:
        raise UserError(f"{who}: {path} is no ViCLIP checkpoint: {error}", "choose its InternVid file") from error
    with torch.device("meta"):
        net = ViCLIP(sizes)
    fill(net, state, path, who)
    return net.eval().requires_grad_(False)


def tokeniser(sizes: Sizes) -> SimpleTokenizer:
    """From texts to token numbers `[B, context]`; a longer text loses its end, not its end token.

    CLIP's tokeniser as OpenCLIP has it, except that the two special tokens are spelled as in OpenAI's and ViCLIP's,
    for texts that contain them.
    """
    import open_clip
    import regex

    tokens = open_clip.SimpleTokenizer(context_length=sizes.context)
    theirs, ours = ("<start_of_text>", "<end_of_text>"), ("<|startoftext|>", "<|endoftext|>")
    tokens.pat = regex.compile(
        tokens.pat.pattern.replace("|".join(theirs), "|".join(map(regex.escape, ours))), tokens.pat.flags
    )
    tokens.cache = {name: name for name in ours}
    tokens.encoder.update({new: tokens.encoder.pop(old) for old, new in zip(theirs, ours, strict=True)})
    return tokens
