"""VBench-2.0's dimensions as the repository's own code judges them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from harness.api import Clip, Open, Score, UserError, register_metric
from metrics.vbench2.suite import ANATOMY, FACE, KINDS, Kind
from metrics.workers.judge import Judge, prompt_of

INVALID = -1  # upstream's mark of a clip that is left out of the mean
LAYERS = (FACE, ANATOMY)  # extras of the environment are called like the files they read
SAMPLES = 20  # of a prompt of diversity
ELSEWHERE = "not a prompt of this dimension"


class VBench2Dimension(Judge):
    """A dimension under its official name. Not applicable: clips of other prompts, and those upstream leaves out (-1).

    The note keeps what the language models said, in order.
    """

    tool = "vbench2"
    dimension: ClassVar[str]  # a key of `suite.KINDS`
    what: ClassVar[str] = ""  # of a clip upstream marks as invalid

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = f"vbench2/{cls.dimension}"
        cls.purposes = cls.kind().needs
        cls.layer = next((need for need in cls.purposes if need in LAYERS), "")

    @classmethod
    def kind(cls) -> Kind:
        """How upstream judges it."""
        return KINDS[cls.dimension]

    def settings(self) -> dict[str, Any]:
        return {"dimension": self.kind().official, "module": self.kind().module}

    def skip(self, clip: Clip) -> str:
        kind, named = self.kind(), clip.meta.get("dimensions")
        if named is not None:
            return "" if kind.official in named else ELSEWHERE
        return "" if kind.custom else "upstream judges it for its own prompts only: meta.dimensions does not name it"

    def request(self, clip: Clip) -> dict[str, Any]:
        prompt = clip.prompt or "" if self.kind().custom else prompt_of(clip)
        asked: dict[str, Any] = {"prompt": prompt}
        if self.kind().truth:
            asked["auxiliary_info"] = clip.meta["auxiliary_info"][self.kind().official]
        return asked

    def read(self, answer: Mapping[str, Any]) -> Score:
        value, said = float(answer["value"]), heard(answer["said"])
        if value == INVALID:
            return Score(None, note=f"{self.what or 'left out upstream'}{said and f'; {said}'}")
        if not 0 <= value <= 1:
            raise ValueError(f"a value of {value}")
        return Score(value, note=said)


def heard(said: Sequence[str]) -> str:
    """What the language models said, for a note."""
    return f"judge: {' | '.join(text.strip() for text in said)[:300]}" if said else ""


@register_metric
class Composition(VBench2Dimension):
    """Are all parts of an invented creature or a crowded scene there? Share of questions answered yes."""

    dimension = "composition"


@register_metric
class MotionRationality(VBench2Dimension):
    """Does the motion have the consequence it should have, e.g. less food after eating? 1 if every answer is yes."""

    dimension = "motion_rationality"


@register_metric
class DynamicSpatialRelationship(VBench2Dimension):
    """Are the objects where they should be in the first half, and in the last frame?"""

    dimension = "dynamic_spatial_relationship"


@register_metric
class DynamicAttribute(VBench2Dimension):
    """Does an attribute change from the first value to the second?"""

    dimension = "dynamic_attribute"


@register_metric
class MotionOrderUnderstanding(VBench2Dimension):
    """Do two motions come in the prompt's order?"""

    dimension, what = "motion_order_understanding", "the judge did not describe two motions"


@register_metric
class HumanInteraction(VBench2Dimension):
    """Do the people do to each other what the prompt says?"""

    dimension = "human_interaction"


@register_metric
class ComplexLandscape(VBench2Dimension):
    """Share of the landscape's described stages that are there."""

    dimension = "complex_landscape"


@register_metric
class ComplexPlot(VBench2Dimension):
    """Share of the plot's stages told, counted up to the first that is missing."""

    dimension = "complex_plot"


@register_metric
class CameraMotion(VBench2Dimension):
    """Does the camera move as the prompt says? CoTracker's points at the frame's edges decide."""

    dimension = "camera_motion"


@register_metric
class HumanAnatomy(VBench2Dimension):
    """Share of people, counted frame by frame, whose body, face and hands look sound to classifiers; 1 for nobody."""

    dimension = "human_anatomy"


@register_metric
class HumanIdentity(VBench2Dimension):
    """Share of frames in which the face is that of the first frame. Left out: under 20 frames with a single face.

    As upstream counts: a later frame without any face has the same one, and those with several are passed over.
    """

    dimension, what = "human_identity", "too few frames with exactly one face"


@register_metric
class HumanClothes(VBench2Dimension):
    """Do clothes stay the same? Left out: not a single person throughout."""

    dimension, what = "human_clothes", "the judge does not see one and the same person throughout"


@register_metric
class Mechanics(VBench2Dimension):
    """Does mechanics hold, e.g. without gravity? Left out: the set-up is not there."""

    dimension, what = "mechanics", "the judge does not see the set-up"


@register_metric
class Thermotics(VBench2Dimension):
    """Do states of matter change as they should? Left out: the set-up is not there."""

    dimension, what = "thermotics", "the judge does not see the set-up"


@register_metric
class Material(VBench2Dimension):
    """Do materials react as they should? Left out: the set-up is not there."""

    dimension, what = "material", "the judge does not see the set-up"


@register_metric
class MultiViewConsistency(VBench2Dimension):
    """Does the scene stay the same while the camera circles around? Left out: the camera does not, or all is still."""

    dimension, what = "multi_view_consistency", "the camera does not circle, or next to nothing moves"


@register_metric
class Diversity(VBench2Dimension):
    """How much a prompt's samples differ in content and style (VGG19 features), 1 at an empirical maximum.

    One number a prompt, given to each of its clips. Upstream asks for twenty samples; fewer are judged, and noted.
    """

    dimension = "diversity"
    level = "samples"

    def score_samples(self, clips: Sequence[Clip], open_clip: Open) -> Mapping[str, Score]:
        if len(clips) < 2:
            raise UserError(f"{clips[0].id}: the only sample of its prompt", "give several samples of each prompt")
        found = self.score_together(clips, {"prompt": clips[0].prompt or ""})
        note = "" if len(clips) == SAMPLES else f"{len(clips)} samples, upstream has {SAMPLES}"
        return {clip.id: Score(found.value, {"samples": len(clips)}, note) for clip in clips}
