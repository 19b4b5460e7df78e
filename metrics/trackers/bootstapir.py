"""The tracker `bootstapir`: BootsTAPIR v2 (Doersch et al. 2024), the one of TRAJAN's protocol."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.api import register_tracker
from metrics.trackers.official import OfficialOptions, OfficialTracker


class BootsTapirOptions(OfficialOptions):
    """`batch_size` cannot change a track: points do not see each other."""

    batch_size: int = Field(32, ge=1, description="points whose cost volumes are held at once")


@register_tracker
class BootsTapir(OfficialTracker):
    """BootsTAPIR v2 by its official PyTorch code, in an environment of its own, from its published checkpoint.

    As in TRAJAN's demonstration: frames resized to 256x256 by Lanczos, softmax temperature 10, a point is visible where
    (1 - occluded)(1 - far from its place) > 0.5, and positions are scaled by the ratio of the sizes.
    """

    name = "bootstapir"
    Config = BootsTapirOptions
    resolution = (256, 256)
    config: BootsTapirOptions

    def settings(self) -> dict[str, Any]:
        return {"batch_size": self.config.batch_size}
