"""ViCLIP's tokeniser against the official one, on prompts of all kinds."""

from __future__ import annotations

import pytest

from harness.networks.viclip import Sizes, tokeniser
from tests.metrics.vbench.clips import LONG
from tests.metrics.vbench.small import PROMPTS, official

START, END = 49406, 49407


def test_token_numbers_are_the_official_ones() -> None:
    rows = tokeniser(Sizes())(list(PROMPTS))
    assert rows.shape == (len(PROMPTS), 32)
    found = {prompt: [token for token in row if token] for prompt, row in zip(PROMPTS, rows.tolist(), strict=True)}
    assert found == official()["tokens"]


@pytest.mark.parametrize(("prompt", "count"), [("", 0), ("a red disc", 3), ("word " * 30, 30), ("word " * 31, 30)])
def test_a_text_ends_with_the_end_token_however_long(prompt: str, count: int) -> None:
    row = tokeniser(Sizes())([prompt])[0].tolist()
    assert row[0] == START
    assert row.index(END) == count + 1
    assert row[count + 2 :] == [0] * (30 - count)


def test_a_long_text_keeps_its_beginning() -> None:
    tokens = tokeniser(Sizes())
    assert tokens([LONG])[0, 1:31].tolist() == tokens.encode(LONG)[:30]
    assert len(tokens.encode(LONG)) == 72
