"""What the embedded world's rewards compute from their networks' answers: pure functions of tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from methods.rewards.language import COLOURS, LONGEST, SHAPES, WORDS, phrases

FRAMES = 8  # of a clip, shown to the video-text network


def agreement(logits: Tensor, wanted: Sequence[Mapping[str, frozenset[str]]]) -> tuple[Tensor, Tensor]:
    """log p_k that colour k is as the caption says, `[B, 6]`, and which colours it names, bool `[B, 6]`.

    Args:
        logits: `[B, 6 colours, 5 shapes + absent]`.
        wanted: for each row the shapes each named colour may have (their probabilities are added); a colour that is
            not named should be absent.
    """
    allowed = torch.zeros(logits.shape, dtype=torch.bool)
    allowed[..., -1] = True
    named = torch.zeros(logits.shape[:2], dtype=torch.bool)
    for row, said in enumerate(wanted):
        for colour, shapes in said.items():
            k = COLOURS.index(colour)
            named[row, k], allowed[row, k] = True, torch.tensor([*(shape in shapes for shape in SHAPES), False])
    inside = logits.log_softmax(-1).masked_fill(~allowed.to(logits.device), -torch.inf)
    return inside.logsumexp(-1), named.to(logits.device)


def reading_log(logits: Tensor, wanted: Sequence[Mapping[str, frozenset[str]]]) -> Tensor:
    """R = mean over named colours of log p_k + mean over the others of log p_k(absent): `[B]`, at most 0."""
    log_p, named = agreement(logits, wanted)
    return _mean(log_p, named) + _mean(log_p, ~named)


def reading_probability(logits: Tensor, wanted: Sequence[Mapping[str, frozenset[str]]]) -> Tensor:
    """R = mean over named colours of p_k - mean over the others of 1 - p_k(absent): `[B]` in [-1, 1]."""
    log_p, named = agreement(logits, wanted)
    return _mean(log_p.exp(), named) - _mean(-log_p.expm1(), ~named)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean over the columns `where`, 0 for a row without any."""
    return values.masked_fill(~where, 0).sum(-1) / where.sum(-1).clamp(min=1)


def number(captions: Sequence[str]) -> Tensor:
    """Captions to word numbers from 1, `[B, phrases, LONGEST]` int64, 0 where there is no word."""
    said = [phrases(caption) for caption in captions]
    numbers = torch.zeros(len(said), max(map(len, said)), LONGEST, dtype=torch.int64)
    for row, caption in enumerate(said):
        for place, phrase in enumerate(caption):
            numbers[row, place, : len(phrase)] = torch.tensor([1 + WORDS.index(word) for word in phrase])
    return numbers


def strided(length: int, start: int) -> list[int]:
    """FRAMES evenly strided frames of a clip of `length`, from `start` < length // FRAMES on."""
    return list(range(start, length, length // FRAMES))[:FRAMES]
