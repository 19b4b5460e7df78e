"""The embedded world: captioned clips of moving shapes, each a pure function of (seed, index), with ground truth."""

from harness.data.world.casting import (
    CAMERAS,
    COLOURS,
    DIRECTIONS,
    DISPLACING,
    MOTIONS,
    SHAPES,
    SIZES,
    SPEEDS,
    STAYING,
    TEXTURES,
    Cast,
    Thing,
)
from harness.data.world.grammar import VOCABULARY, long_caption, short_caption, tokens
from harness.data.world.ground_truth import Truth, describe, truth
from harness.data.world.knobs import MQ_THRESHOLD, PRESETS, QUADRANTS, VQ_THRESHOLD, Knobs
from harness.data.world.rendering import render
from harness.data.world.staging import WORLD_VERSION, Scene, cast, scene

__all__ = [
    "CAMERAS",
    "COLOURS",
    "DIRECTIONS",
    "DISPLACING",
    "MOTIONS",
    "MQ_THRESHOLD",
    "PRESETS",
    "QUADRANTS",
    "SHAPES",
    "SIZES",
    "SPEEDS",
    "STAYING",
    "TEXTURES",
    "VOCABULARY",
    "VQ_THRESHOLD",
    "WORLD_VERSION",
    "Cast",
    "Knobs",
    "Scene",
    "Thing",
    "Truth",
    "cast",
    "describe",
    "long_caption",
    "render",
    "scene",
    "short_caption",
    "tokens",
    "truth",
]
