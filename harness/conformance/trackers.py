"""Does a point tracker keep the promises of `harness.api.Tracker`?"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import registry
from harness.api import Tracker, UserError
from harness.conformance.randomness import restored, scramble, undrawn
from harness.conformance.report import (
    ONE_FRAME,
    Fault,
    NotApplicable,
    Question,
    Report,
    demand,
    described,
    examine,
    works_or_refuses,
)
from harness.conformance.scoring import others
from harness.conformance.wandering import FAST, FRAMES, POINTS, SIDES, TrackerBench, differ, drifting, path, scattered
from harness.tracking import RUNTIME

SLIGHT = 0.1  # pixels, of the same computation in other parts
AT_HOME, NEAR, BEYOND = 1.0, 2.0, 8.0  # pixels: from a query, from the truth, outside the frame
GPU = 0.5  # pixels, between devices
TOGETHER = "together"  # the option of trackers whose points inform each other


# ---- declarations ----------------------------------------------------------------------------------------------


def declaration(bench: TrackerBench) -> str:
    described(bench.kind, Tracker)
    size = bench.kind.resolution
    good = size is None or (len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size))
    demand(good, f"resolution is {size!r}; (height, width) it resizes frames to, or None for the clip's own")
    unknown = bench.kind.runtime - set(bench.kind.Config.model_fields)
    demand(not unknown, f"runtime names {sorted(unknown)}, which its Config has not")
    return "frames at their own size" if size is None else f"frames at {size[0]}x{size[1]}"


def identity(bench: TrackerBench) -> str:
    """Options that decide tracks change it; those that cannot do not; the same in every instance."""
    found = dict(bench.fresh().identity)
    try:
        json.dumps(found, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Fault(f"identity is not JSON: {error}") from error
    demand(found == dict(bench.fresh().identity), "identity is another one in a second instance")
    for key, value in {"tracker": bench.kind.name, "version": bench.kind.version}.items():
        demand(found.get(key) == value, f'identity["{key}"] is {found.get(key)!r}, not {value!r}')
    free, entered = RUNTIME | bench.kind.runtime, list[str]()
    for name in bench.kind.Config.model_fields:
        for value in others(getattr(bench.config, name)):
            if value == getattr(bench.config, name):
                continue
            try:
                changed = dict(bench.fresh(**{name: value}).identity) != found
            except UserError:  # a value the option may not have
                continue
            if name in free:
                demand(not changed, f"identity changes with {name}, which is declared not to change tracks")
            else:
                demand(changed, f"identity is the same with {name}={value}: other tracks would pass for these")
                entered.append(name)
    return f"changes with {', '.join(dict.fromkeys(entered))}" if entered else "no option of a number to change"


# ---- answers ---------------------------------------------------------------------------------------------------


def answers(bench: TrackerBench) -> str:
    """`track` checks shapes, types and that positions are finite."""
    tracks, visible = bench.answer
    return f"{list(tracks.shape)} positions, {visible.mean():.0%} visible"


def deterministic(bench: TrackerBench) -> str:
    first = bench.answer
    scramble(1)
    with undrawn("tracking", "seed a generator of its own, from the clip and the queries"):
        again = bench.ask(bench.usual)
    differ(first, again, "the same points of the same clip get other tracks the second time")
    scramble(2)
    with closing(bench.fresh()) as tracker:
        tracker.track(drifting(FAST, seed=8), bench.queries)  # what a clip leaves behind must not reach the next
        differ(first, bench.ask(tracker), "another instance tracks otherwise after another clip")
    return "the same again, in another instance and after another clip"


def own_memory(bench: TrackerBench) -> str:
    tracks, visible = bench.ask(bench.usual)
    kept = tracks.copy(), visible.copy()
    bench.usual.track(drifting(FAST, seed=8), bench.queries)
    differ(kept, (tracks, visible), "an answer changes when the tracker is asked again: hand out a copy")
    video, queries = bench.video.copy(), bench.queries.astype(np.float32)
    bench.usual.track(video, queries)
    demand(
        np.array_equal(video, bench.video), "it changes the frames it is given; others are handed the same: copy first"
    )
    demand(np.array_equal(queries, bench.queries.astype(np.float32)), "it changes the queries it is given: copy first")
    return "frames, queries and earlier answers stay as they were"


def at_home(bench: TrackerBench) -> str:
    """In its query's frame a point is where it was put."""
    tracks, visible = bench.answer
    when = bench.queries[:, 0].astype(int)
    off = np.hypot(*(tracks[np.arange(POINTS), when] - bench.queries[:, 1:]).T)
    demand(
        float(np.median(off)) <= AT_HOME,
        f"in their query's frame points are {np.median(off):.3g} px from where they were put: queries are (t, x, y), "
        "pixels, x right, and (0, 0) is the middle of the first pixel",
    )
    seen = float(visible[np.arange(POINTS), when].mean())
    demand(seen > 0.5, f"in their query's frame only {seen:.0%} of points are visible")
    return f"{off.max():.2g} px away at most"


def both_ways(bench: TrackerBench) -> str:
    """Queries in the middle are followed to the last frame and back to the first."""
    queries = scattered([FRAMES // 2])
    tracks, visible = bench.usual.track(bench.video, queries)
    off = np.median(np.hypot(*(tracks - path(queries)).transpose(2, 0, 1)), axis=0)
    for end, words in {-1: "forward to the last", 0: "back to the first"}.items():
        demand(
            off[end] <= NEAR,
            f"a texture that moves by 1.5 px a frame is not followed {words} frame: off by {off[end]:.3g} px",
        )
        seen = float(visible[:, end].mean())
        demand(seen > 0.5, f"followed {words} frame of a clip without occlusions, {seen:.0%} of points are visible")
    return f"off by {off[-1]:.2g} px forward and {off[0]:.2g} px back"


def outside(bench: TrackerBench) -> str:
    queries = scattered([0], 0.5, 0.9)
    _, visible = bench.usual.track(drifting(FAST), queries)
    gone = path(queries, FAST)[..., 0] > SIDES[1] - 1 + BEYOND
    wrong = float(visible[gone].mean())
    demand(wrong <= 0.1, f"{wrong:.0%} of points that have left the frame are called visible")
    return f"{gone.sum()} places outside the frame, {wrong:.0%} called visible"


# ---- points and each other -------------------------------------------------------------------------------------


def alone(bench: TrackerBench) -> str:
    """Points do not inform each other, or an option `together`, which enters the identity, says so."""
    tracks, visible = bench.answer
    chosen = np.arange(POINTS)[::-3]
    found = bench.usual.track(bench.video, bench.queries[chosen])
    if TOGETHER in bench.kind.Config.model_fields and TOGETHER in bench.usual.identity["options"]:
        return "points inform each other, and `together` is in the identity"
    differ(
        (tracks[chosen], visible[chosen]), found,
        f"points get other tracks among fewer or in another order; give it an option `{TOGETHER}` (points at a time) "
        "that enters the identity",
    )  # fmt: skip
    return "the same among fewer and in another order"


def runtime(bench: TrackerBench) -> str:
    """Neither batch sizes nor threads change tracks."""
    said = []
    for name in sorted((RUNTIME | bench.kind.runtime) & set(bench.kind.Config.model_fields)):
        for value in others(getattr(bench.config, name)):
            try:
                tracker = bench.fresh(**{name: value})
            except UserError:  # a value the option may not have
                continue
            with closing(tracker):
                found = bench.ask(tracker)
            differ(bench.answer, found, f"tracks change with {name}={value}, which is not in the identity", SLIGHT)
            said.append(f"{name}={value}")
    if not said:
        raise NotApplicable("it has no option such as batch_size")
    return f"the same with {', '.join(said)}"


# ---- what may come ---------------------------------------------------------------------------------------------


def edges(bench: TrackerBench) -> str:
    tracks, visible = bench.usual.track(bench.video, np.zeros((0, 3)))
    shapes = tracks.shape, visible.shape
    demand(shapes == ((0, FRAMES, 2), (0, FRAMES)), f"no queries are answered with {shapes[0]} and {shapes[1]}")
    queries = scattered([0])

    def single() -> None:
        places, _ = bench.usual.track(bench.video[:1], queries)
        off = float(np.median(np.hypot(*(places[:, 0] - queries[:, 1:]).T)))
        demand(off <= AT_HOME, f"points are {off:.3g} px from where they were put")

    return f"works with no queries, {works_or_refuses(single, ONE_FRAME)}"


def footage(bench: TrackerBench) -> str:
    """Sizes and pictures at the edges of what may come: finite answers, or a UserError."""
    rng = np.random.default_rng(0)
    odd: dict[str, NDArray[np.uint8]] = {
        "clips of 17x250": drifting(sides=(17, 250), frames=4),
        "clips of 8x8": drifting(sides=(8, 8), frames=4),
        "clips of 320x240": drifting(sides=(240, 320), frames=3),
        "black clips": np.zeros_like(bench.video[:4]),
        "clips of noise": rng.integers(0, 256, bench.video[:4].shape, np.uint8),
        "clips that do not own their memory": bench.video[::-2, ::-1],
    }
    said = []
    for what, video in odd.items():
        height, width = video.shape[1:3]
        queries = np.column_stack([[0, 1, 2], np.array([[0.1, 0.2], [0.5, 0.5], [0.9, 0.7]]) * (width - 1, height - 1)])
        said.append(works_or_refuses(partial(_follow, bench.usual, video, queries.astype(np.float32)), what))
    refused = [text for text in said if text.startswith("refuses")]
    return "; ".join(refused) or f"works with {', '.join(odd)}"


def _follow(tracker: Tracker, video: NDArray[np.uint8], queries: NDArray[np.float32]) -> None:
    """As `track` does, but an answer that is not finite is the tracker's fault."""
    tracks, _ = tracker.follow(video, queries)
    demand(np.isfinite(tracks).all(), "it gives positions that are not finite")


def on_the_gpu(bench: TrackerBench) -> str:
    import torch

    if "device" not in bench.kind.Config.model_fields:
        raise NotApplicable("it has no option device")
    if not torch.cuda.is_available():
        raise NotApplicable("there is no GPU here")
    found = []
    for device in ("cpu", "cuda"):
        with closing(bench.fresh(device=device)) as tracker:
            found.append(bench.ask(tracker)[0])
    off = float(np.abs(found[0] - found[1]).max())
    demand(off <= GPU, f"the CPU and the GPU give tracks that are {off:.3g} px apart")
    return f"the CPU's tracks to {off:.1g} px"


def speed(bench: TrackerBench) -> str:
    """What it took, for the record: nothing fails here."""
    began = time.perf_counter()
    bench.usual.track(bench.video, bench.queries)
    took = time.perf_counter() - began
    return f"{1e3 * took:.0f} ms for {POINTS} points in {FRAMES} frames of {SIDES[0]}x{SIDES[1]}"


QUESTIONS = (
    Question("declaration", declaration),
    Question("identity", identity, after=("declaration",)),
    Question("answers", answers, after=("declaration",)),
    Question("determinism", deterministic, after=("answers",)),
    Question("inputs untouched", own_memory, after=("determinism",)),
    Question("own place", at_home, after=("answers",)),
    Question("both ways", both_ways, after=("own place",)),
    Question("outside the frame", outside, after=("both ways",)),
    Question("points alone", alone, after=("determinism",)),
    Question("runtime options", runtime, after=("determinism",)),
    Question("nothing to follow", edges, after=("answers",)),
    Question("clips", footage, after=("answers",)),
    Question("GPU", on_the_gpu, after=("determinism",)),
    Question("speed", speed, after=("answers",)),
)


def examine_tracker(kind: Any, settings: Mapping[str, Any] | None = None) -> Report:
    """Everything that can be asked about a tracker, on small clips of a texture that drifts.

    Args:
        kind: the class; it is registered under its name if it is not yet.
        settings: its options, e.g. where the checkpoint is.

    Raises:
        UserError: the settings are wrong, or its checkpoint or environment is not here.
    """
    registry.trackers.register(kind)
    with restored(), closing(TrackerBench(kind, settings or {})) as bench:
        kind.weights(bench.config)
        return examine("tracker", kind.name, bench, QUESTIONS)


def check_tracker(kind: Any, settings: Mapping[str, Any] | None = None) -> Report:
    """`examine_tracker`, for a plugin's own tests: raises one AssertionError that lists every failed check."""
    return examine_tracker(kind, settings).demand()
