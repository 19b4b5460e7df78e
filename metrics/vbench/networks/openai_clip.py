"""OpenAI's CLIP (Radford et al. 2021) from its published archives, through OpenCLIP's network."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.networks.checkpoints import fill, read

if TYPE_CHECKING:
    import open_clip
    import torch
    from torch import Tensor


WHO, LAION = "CLIP", "LAION's aesthetic head"  # in messages
LAION_WIDTH = 768


@cache
def load(path: Path, device: torch.device) -> open_clip.CLIP:
    """From ViT-B-32.pt or the like, float32; sizes are found out from the tensors.

    Its matrices are rounded to half precision first, as openai-clip's loader does to a file that is not.

    Raises:
        UserError: the file is not one of OpenAI's CLIP.
    """
    from open_clip.model import build_model_from_openai_state_dict

    state = read(path, WHO)
    try:
        net = build_model_from_openai_state_dict(state)
    except (KeyError, RuntimeError, ValueError, ZeroDivisionError) as error:
        what = next((line for line in reversed(str(error).splitlines()) if line.strip()), "").strip()
        raise UserError(f"{WHO}: {path} is no CLIP of OpenAI's: {what[:300]}", "is it another model's file?") from error
    return net.float().to(device).eval().requires_grad_(False)


def embed(net: open_clip.CLIP, images: Tensor) -> Tensor:
    """Embeddings of images, `[B, 3, S, S]`, normalised -> `[B, D]`, as `net.encode_image` gives them.

    Of the last block only the class token is computed: nothing looks at the others.
    """
    import torch

    visual = net.visual
    tokens = visual.conv1(images).flatten(2).transpose(1, 2)
    first = visual.class_embedding.expand(len(tokens), 1, -1)
    tokens = visual.ln_pre(torch.cat([first, tokens], 1) + visual.positional_embedding)
    *early, last = visual.transformer.resblocks
    for block in early:
        tokens = block(tokens)
    x = last.ln_1(tokens)
    x = tokens[:, :1] + last.attn(x[:, :1], x, x, need_weights=False)[0]
    x = x + last.mlp(last.ln_2(x))
    embedding: Tensor = visual.ln_post(x[:, 0]) @ visual.proj
    return embedding


def load_laion(path: Path) -> torch.nn.Linear:
    """LAION's aesthetic head, from sa_0_4_vit_l_14_linear.pth: 768 features of length 1 -> a score of about 1 to 10."""
    from torch import nn

    head = nn.Linear(LAION_WIDTH, 1)
    fill(head, read(path, LAION), path, LAION)
    return head.eval().requires_grad_(False)


def laion(head: torch.nn.Linear, embeddings: Tensor) -> Tensor:
    """Scores of pictures, about 1 to 10, from their embeddings of any length; `[B, 768] -> [B]`."""
    import torch
    from torch.nn.functional import normalize

    with torch.autocast(embeddings.device.type, enabled=False):  # bfloat16 knows steps of 0.03 near 5
        scores: Tensor = head(normalize(embeddings.float(), dim=-1))
    return scores.squeeze(-1)


def tokens(text: str, net: open_clip.CLIP, who: str) -> Tensor:
    """int `[1, context]`. UserError where openai-clip's tokeniser refuses: the text does not fit."""
    import open_clip

    tokenise = open_clip.SimpleTokenizer(context_length=net.context_length)
    needed = len(tokenise.encode(text)) + 2
    if needed > net.context_length:
        raise UserError(
            f"{who}: {needed} tokens of text, CLIP takes {net.context_length}: {text[:60]}...", "shorten the text"
        )
    return tokenise(text)
