"""Score rows to VBench's `<name>_eval_results.json` and `<name>_full_info.json`, and to the leaderboard's zip."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.api import ScoreRow, UserError
from metrics.vbench.aggregate import DIMENSIONS, ELSEWHERE, dimension_score
from metrics.vbench.layout import clip_name
from metrics.vbench.prompts import FLICKERING, official_info, official_prompts
from metrics.vbench.summary import expected_clips

Json = dict[str, Any]

PER_CENT = frozenset({"imaging_quality"})  # its videos are on 0..100 in VBench's file, its total is not
BOOLEAN = frozenset({"dynamic_degree", "human_action"})  # true or false per video
COUNTED = frozenset({"object_class", "multiple_objects", "scene"})  # successful frames and frames per video
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip knows: the same rows give the same bytes


@dataclass(frozen=True)
class Official:
    """What VBench would have written."""

    results: Mapping[str, tuple[float, list[Json]]]  # <name>_eval_results.json: dimension to score and videos
    info: list[Json]  # <name>_full_info.json
    left_out: Mapping[str, str]  # dimensions without a score, and why
    clips: Mapping[str, int]  # clips of each dimension's prompts


def to_official(clips: Sequence[Json], rows: Mapping[str, Sequence[ScoreRow]]) -> Official:
    """Rows of an evaluation in VBench's format, on its scales, with what it writes beside each value.

    Not there are `frame_results` and `cur_sim` (values of single frames), which we do not keep. A sample of an official
    prompt is called as VBench calls it, any other clip by its own path.

    Args:
        clips: rows of clips.jsonl.
        rows: score rows by dimension.
    """
    official = {entry.prompt for entry in official_prompts()}
    names = {clip["id"]: _video_path(clip, clip["prompt"] in official) for clip in clips}
    if len(set(names.values())) < len(names):
        raise UserError("two clips are the same sample of the same prompt", 'number them: "sample" in their metadata')
    results: dict[str, tuple[float, list[Json]]] = {}
    left_out, counts = dict[str, str](), dict[str, int]()
    for dimension in (name for name in DIMENSIONS if name in rows):
        total = dimension_score(dimension, rows[dimension])
        counts[dimension] = total.clips
        if total.score is None:
            left_out[dimension] = total.note
            continue
        found = {row["clip"]: row for row in rows[dimension] if row["value"] is not None}
        videos = [_video(dimension, names[clip["id"]], found[clip["id"]]) for clip in clips if clip["id"] in found]
        results[dimension] = total.score, videos
    info = _info(clips, names, {dimension: rows[dimension] for dimension in results})
    return Official(results, info, left_out, counts)


def _video_path(clip: Json, official: bool) -> str:
    sample = clip["meta"].get("sample")
    return clip_name(clip["prompt"], sample) if official and isinstance(sample, int) else str(clip["file"])


def _video(dimension: str, path: str, row: ScoreRow) -> Json:
    """One entry of a dimension's list (the `video_results.append` of vbench 0.1.5, <dimension>.py)."""
    value, parts = row["value"], row["parts"]
    if dimension in BOOLEAN:
        extra = {"cor_num_per_video": int(value)} if dimension == "human_action" else {}
        return {"video_path": path, "video_results": bool(value), **extra}
    extra = {}
    if dimension == "background_consistency":
        extra = {"video_sim": value * parts["pairs"], "cnt_per_video": int(parts["pairs"])}
    elif dimension in COUNTED:
        frames = int(parts["frames"])
        extra = {"success_frame_count": int(parts.get("success", round(value * frames))), "frame_count": frames}
    elif dimension == "color":
        extra = {"cur_success_frame_rate": value}
    official = parts.get("official", value * 100) if dimension in PER_CENT else value
    return {"video_path": path, "video_results": official, **extra}


def _info(clips: Sequence[Json], names: Mapping[str, str], rows: Mapping[str, Sequence[ScoreRow]]) -> list[Json]:
    """Official entries with the videos they were evaluated on; a clip of another prompt has an entry of its own.

    Args:
        rows: those of the dimensions that have a score. Clips that the static filter rejected are not in VBench's
            folder any more.
    """
    used = {
        row["clip"]
        for dimension, found in rows.items()
        for row in found
        if row["note"] != ELSEWHERE and (row["value"] is not None or dimension != FLICKERING)
    }
    by_prompt: dict[str, list[str]] = {}
    for clip in clips:
        if clip["id"] in used:
            by_prompt.setdefault(clip["prompt"] or "", []).append(names[clip["id"]])
    info, known = [], set()
    for entry in official_info():
        videos = by_prompt.get(entry["prompt_en"])
        if videos and set(entry["dimension"]) & set(rows):
            info.append({**entry, "video_list": videos})
            known.add(entry["prompt_en"])
    others = ((prompt, videos) for prompt, videos in by_prompt.items() if prompt not in known)
    return info + [{"prompt_en": prompt, "dimension": list(rows), "video_list": videos} for prompt, videos in others]


def official_json(content: Any) -> str:
    """As VBench writes it (`save_json`, utils.py), but valid JSON: a number that is none is an error."""
    return json.dumps(content, indent=4, allow_nan=False)


# ---- the leaderboard -------------------------------------------------------------------------------------------


def not_comparable(official: Official, configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Why these results must not go to the leaderboard; [] if they may.

    Args:
        configs: options that the dimensions were evaluated with.
    """
    reasons = [f"{dimension}: {reason}" for dimension, reason in official.left_out.items()]
    absent = [name for name in DIMENSIONS if name not in official.clips]
    if absent:
        reasons.append(f"not evaluated, so counted as 0: {', '.join(absent)}")
    for dimension, count in official.clips.items():
        if count < expected_clips(dimension):
            reasons.append(f"{dimension}: {count} of {expected_clips(dimension)} clips")
    configs = list(configs)
    for key, wanted in (("protocol", "standard"), ("precision", "exact"), ("unofficial_weights", False)):
        if any(config.get(key, wanted) != wanted for config in configs):
            reasons.append(f"evaluated with {key} other than {wanted}")
    return reasons


def submission(official: Official, name: str) -> bytes:
    """The zip that the leaderboard's form takes (README, "Submit to Leaderboard"): one result file at its root."""
    if not official.results:
        raise UserError("no dimension has a score", "evaluate the clips first")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(f"{name}_eval_results.json", EPOCH)
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, official_json(official.results))
    return out.getvalue()
