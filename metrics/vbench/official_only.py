"""The VBench dimensions that only the official package computes, in its own environment: those on GRiT and Tag2Text."""

from __future__ import annotations

from harness.api import Clip, Features, Score, UserError, register_metric
from metrics.vbench.dimension import Dimension


class OfficialOnly(Dimension):
    """A dimension without a native engine, defined for VBench's own prompts."""

    native = False
    custom = False

    def judge(self, clip: Clip, features: Features) -> Score:
        raise UserError(f"{self.name} has no native engine", "leave `backend` at auto, or set it to official")


@register_metric
class ObjectClass(OfficialOnly):
    """Is the object there? Share of 16 frames in which GRiT detects the class the prompt names.

    Parts: `success` and `frames`, by which VBench weighs videos. Any error of the detector counts as an empty picture
    in the official package; here it is an error.
    """

    name = "vbench/object_class"
    dimension = "object_class"


@register_metric
class MultipleObjects(OfficialOnly):
    """Are both objects there? Share of 16 frames in which GRiT detects both classes the prompt names.

    Parts: `success` and `frames`, by which VBench weighs videos.
    """

    name = "vbench/multiple_objects"
    dimension = "multiple_objects"


@register_metric
class Color(OfficialOnly):
    """Has the object the colour asked for? Of the frames whose caption by GRiT gives the object any colour, the share
    that gives it the right one.

    Parts: `object_frames` and `color_frames`. A video in which the object is never seen has no value, as in VBench.
    """

    name = "vbench/color"
    dimension = "color"


@register_metric
class SpatialRelationship(OfficialOnly):
    """Are the objects beside or above each other? Mean over 16 frames of a score of the boxes GRiT finds.

    VBench does not tell left from right nor top from bottom, and two boxes of one class also count. Part: `frames`, by
    which VBench weighs videos.
    """

    name = "vbench/spatial_relationship"
    dimension = "spatial_relationship"


@register_metric
class Scene(OfficialOnly):
    """Is it the place asked for? Share of 16 frames whose caption by Tag2Text holds every word of the scene.

    A word counts as held when it is a part of another one. Parts: `success` and `frames`, by which VBench weighs
    videos.
    """

    name = "vbench/scene"
    dimension = "scene"
