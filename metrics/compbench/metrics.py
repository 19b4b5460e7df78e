"""T2V-CompBench's three categories as metrics. Which category a clip belongs to is in its meta, under the keys of the
official prompt files; clips of other categories are not scored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from harness.api import Clip, Score, register_metric
from harness.weights import folder
from metrics.compbench.imported import action_value, dynamic_value, replies_in
from metrics.compbench.motion import as_listed, found_in, motion_binding, shift_in, things_in
from metrics.compbench.replies import rating, shows_a_state
from metrics.workers.judge import Judge, JudgeOptions, prompt_of


class CompBench(Judge):
    """A category: what its prompt file says of a clip goes to the judge as it stands."""

    keys: ClassVar[tuple[str, ...]]  # of an entry, beside the prompt

    def skip(self, clip: Clip) -> str:
        absent = [key for key in self.keys if key not in clip.meta]
        return f"not a prompt of this category: no {', '.join(absent)} in its meta" if absent else ""

    def entry(self, clip: Clip) -> dict[str, Any]:
        """As in the official prompt file."""
        return {"prompt": prompt_of(clip), **{key: clip.meta[key] for key in self.keys}}


class DrawOptions(JudgeOptions):
    """What is drawn at random."""

    seed: int = Field(0, ge=0, description="of the draws; the official scripts set none")


class ReplyOptions(DrawOptions):
    """How LLaVA's replies are drawn."""

    temperature: float = Field(0.2, ge=0, description="of LLaVA's replies; 0: always the likeliest word")


class Replied(CompBench):
    """A category that LLaVA-v1.6-34B judges in words."""

    Config = ReplyOptions
    tool, purposes = "compbench", ("llava",)
    category: ClassVar[str]
    config: ReplyOptions

    @classmethod
    def warning(cls, config: ReplyOptions) -> str:
        drawn = (
            f"replies are sampled (temperature {config.temperature:g}): another seed or machine gives other scores"
            if config.temperature
            else "replies are not sampled, the official ones are (temperature 0.2)"
        )
        return "; ".join(filter(None, (super().warning(config), drawn)))

    def settings(self) -> dict[str, Any]:
        return {"temperature": self.config.temperature, "seed": self.config.seed}

    def request(self, clip: Clip) -> dict[str, Any]:
        return {"category": self.category, "entry": self.entry(clip)}

    def variables(self, private: Path) -> dict[str, str]:
        """LLaVA's vision tower is looked for in a folder of its hub name."""
        (private / "openai").symlink_to(folder(self.table().group, self.config.weights).resolve() / "openai")
        return super().variables(private)


@register_metric
class ActionBinding(Replied):
    """Do both subjects do what the prompt says of each? T2V-CompBench: LLaVA on a grid of six frames, 0 to 5 over 5."""

    name, category = "t2v-compbench/action_binding", "action_binding"
    keys = ("phrase_0", "phrase_1")

    def read(self, answer: Mapping[str, Any]) -> Score:
        row = answer["row"]
        return Score(action_value(row), note=row["outputs_2"])


@register_metric
class DynamicAttribute(Replied):
    """Does the attribute change as the prompt says? T2V-CompBench: LLaVA on sixteen frames, first and last rated."""

    name, category = "t2v-compbench/dynamic_attribute", "dynamic_attribute"
    keys = ("state 0", "state 1")

    def read(self, answer: Mapping[str, Any]) -> Score:
        row = answer["row"]
        value = dynamic_value(row)
        said = {"s0": "1_answer2", "s01": "_answer3", "s1": "2_answer2", "s11": "2_answer3"}
        parts = {name: float(rating(row[column])) for name, column in said.items()}
        return Score(value, parts | {"middle": float(sum(map(shows_a_state, replies_in(row))))})


@register_metric
class MotionBinding(CompBench):
    """Do the objects move the way the prompt says? T2V-CompBench: segmentation and dense tracks, camera taken out."""

    name, range = "t2v-compbench/motion_binding", (0.0, 1.8)  # both the object and the background may cross the frame
    Config = DrawOptions
    tool, purposes = "compbench-motion", ("motion",)
    keys = ("object_1", "d_1", "object_2", "d_2")
    config: DrawOptions

    @classmethod
    def warning(cls, config: DrawOptions) -> str:
        drawn = "the tracked points are drawn: another seed gives slightly other scores"
        return "; ".join(filter(None, (super().warning(config), drawn)))

    def settings(self) -> dict[str, Any]:
        return {"seed": self.config.seed}

    def variables(self, private: Path) -> dict[str, str]:
        """GroundingDINO's text encoder is looked for in a folder of its hub name."""
        where = folder(self.table().group, self.config.weights).resolve() / "bert-base-uncased"
        (private / "bert-base-uncased").symlink_to(where)
        return super().variables(private)

    def request(self, clip: Clip) -> dict[str, Any]:
        return {"entry": self.entry(clip)}

    def read(self, answer: Mapping[str, Any]) -> Score:
        things, shifts = things_in(answer["foreground"][0]), found_in(answer["foreground"])
        background = shift_in(answer["background"][0])
        parts = {"as_listed": as_listed(things, list(shifts.values()), background), "found": float(len(shifts))}
        lost = [thing.name for thing in things if thing.name not in shifts]
        return Score(motion_binding(things, shifts, background), parts, f"not found: {', '.join(lost)}" if lost else "")
