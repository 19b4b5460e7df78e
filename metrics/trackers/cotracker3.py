"""The tracker `cotracker3`: CoTracker3 offline (Karaev et al. 2024)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.api import register_tracker
from metrics.trackers.official import OfficialOptions, OfficialTracker


class CoTracker3Options(OfficialOptions):
    """`together` decides tracks: points that are tracked together inform each other."""

    together: int = Field(0, ge=0, description="points tracked together, in the order given; 0: all of a clip")


@register_tracker
class CoTracker3(OfficialTracker):
    """CoTracker3 offline by its official code (CC-BY-NC 4.0), in an environment of its own, both ways in time.

    The official predictor as it is: frames resized to 384x512, a support grid of 6x6 points, 6 iterations, a point is
    visible where the model says so with more than 0.9, and always in its query's frame.
    """

    name = "cotracker3"
    Config = CoTracker3Options
    resolution = (384, 512)
    config: CoTracker3Options

    def settings(self) -> dict[str, Any]:
        return {"together": self.config.together}
