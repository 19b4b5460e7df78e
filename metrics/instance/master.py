"""Instance preservation as VBench-2.0's repository has it since July 2025: a vision-language judge over windows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from harness.api import Clip, Metric, Score, ScoreRow, UserError, register_metric
from harness.weights import Shelf, folder
from metrics.instance.scoring import judged, share
from metrics.instance.windows import windows
from metrics.workers.client import WorkerError
from metrics.workers.judge import Judge, JudgeOptions

ARGUMENTS = "instance_anomaly_detector/model/args.json"  # of the adapter; it names the base
CUTTERS = ("ffmpeg", "ffprobe")  # the official code runs them
NAME = "instance_preservation@vbench2-master"


class MasterOptions(JudgeOptions):
    """`max_errors` decides only whether a clip fails, not what it scores."""

    max_errors: float = Field(0.1, ge=0, le=1, description="share of a clip's windows the judge may fail on")


@register_metric
class InstancePreservationMaster(Judge):
    """1 if the judge sees no sudden appearance, disappearance, fusion or fission in any two-second window, else 0.

    The question does not mention the prompt. A clip of less than two seconds has no window and counts as preserved, as
    upstream, and the note says so. Windows on which the judge fails count as fine, as upstream, but are counted
    (`judge_errors`), and above `max_errors` the clip fails. Parts also hold the windows, and how many were looked at.
    """

    name = NAME
    tool, purposes = "instance", ("judge",)
    Config = MasterOptions
    config: MasterOptions

    @classmethod
    def weights(cls, config: Any) -> tuple[Path, ...]:
        """The adapter, the base that it names, and what pins the environment."""
        paths = super().weights(config)
        table = cls.table()
        shelf = Shelf(table, folder(table.group, config.weights))
        base = json.loads((shelf.folder / ARGUMENTS).read_text(encoding="utf-8"))["model"].rsplit("/", 1)[-1]
        purpose = f"base-{base}"
        based = shelf.require(table.select([purpose]), [purpose], config.unofficial_weights)
        if absent := [name for name in CUTTERS if shutil.which(name) is None]:
            raise UserError(
                f"{' and '.join(absent)} not found: the official judge cuts its windows with it", "install ffmpeg"
            )
        return (*paths, *based)

    def request(self, clip: Clip) -> dict[str, Any]:
        return {}

    def read(self, answer: Mapping[str, Any]) -> Score:
        said: Sequence[Mapping[str, str]] = answer["windows"]
        texts = [each.get("text") for each in said]
        verdict = judged(texts, len(windows(answer["frames"], answer["fps"])))
        if verdict.error_share > self.config.max_errors:
            first = next(each["error"] for each in said if "error" in each)
            count = f"{verdict.errors} of {verdict.looked} windows"
            raise WorkerError(f"{self.tool}: the judge failed on {count}: {first}", "raise max_errors to accept that")
        parts = {"windows": verdict.windows, "looked_at": verdict.looked, "judge_errors": verdict.errors}
        heard = " | ".join("(error)" if text is None else text.strip() for text in texts)
        note = "shorter than a window, counted as preserved" if verdict.too_short else f"judge: {heard[:300]}"
        return Score(verdict.value, parts, note)


@register_metric
class PreservedShare(Metric):
    """The share of clips the judge found preserved, with Wilson's 95 % interval: k of n, low and high are its parts.

    A mean of zeros and ones near 1 is where a bootstrap misleads; 171 videos at 0.9 leave about 4 points on each side.
    """

    name = f"{NAME}/share"
    level = "summary"
    Config = MasterOptions
    runtime = Judge.runtime
    inputs: ClassVar[tuple[str, ...]] = (NAME,)

    def summarise(self, rows: Mapping[str, Sequence[ScoreRow]]) -> Score:
        mine = rows.get(NAME, ())
        failed = sum(bool(row["error"]) for row in mine)
        values = [row["value"] for row in mine if row["value"] is not None]
        if failed or not values:
            return Score(None, note=f"{failed} clips failed" if failed else "no clip was judged")
        found = share(values)
        parts = {"k": found.k, "n": found.n, "low": found.low, "high": found.high}
        short = sum(row["parts"].get("windows") == 0 for row in mine)
        note = f"{found.k} of {found.n}, 95 % [{found.low:.3f}, {found.high:.3f}]"
        return Score(found.value, parts, note + (f"; {short} shorter than a window" if short else ""))
