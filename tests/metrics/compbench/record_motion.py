"""Records `official_motion.json`: T2V-CompBench's motion_binding_score_cal.py on made-up tables (it needs no packages).

python -m tests.metrics.compbench.record_motion T2V_COMPBENCH
"""

from __future__ import annotations

import csv
import importlib.util
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

HEADER = ["id", "prompt", "object_1", "d_1", "object_2", "d_2", "mask_name", "xy_json", "change_in_x", "change_in_y"]
DIRECTIONS = ("left", "right", "up", "down")


def cases(count: int) -> list[dict[str, Any]]:
    """One or two objects, found or not, before a background that was found or not."""
    draw = random.Random(0)

    def shift() -> list[float]:
        return [round(draw.uniform(-300, 300), 3), round(draw.uniform(-200, 200), 3)]

    out = []
    for number in range(count):
        objects = 1 + number % 2
        found = draw.choice([objects, objects, draw.randrange(objects + 1)])
        out.append(
            {
                "directions": [draw.choice(DIRECTIONS) for _ in range(objects)],
                "shifts": [shift() for _ in range(found)],  # as listed: the first mask is the first object
                "background": shift() if draw.random() < 0.8 else None,
            }
        )
    return out


def official(script: Path, made: list[dict[str, Any]]) -> tuple[list[float], float]:
    """The script's score of each clip before normalisation, and the model's score."""
    spec = importlib.util.spec_from_file_location("score_cal", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open(folder / "fore.csv", "w", newline="") as fore, open(folder / "back.csv", "w", newline="") as back:
            foreground, background = csv.writer(fore), csv.writer(back)
            foreground.writerow(HEADER)
            background.writerow(HEADER)
            for number, case in enumerate(made, 1):
                d_1, d_2 = (*case["directions"], "")[:2]
                start = [number, "a prompt", "one", d_1, "two" if d_2 else "", d_2]
                for index in range(2):
                    seen = index < len(case["shifts"])
                    foreground.writerow([*start, *(["mask", "{}", *case["shifts"][index]] if seen else [""] * 4)])
                background.writerow(
                    [*start, *(["mask", "{}", *case["background"]] if case["background"] else [""] * 4)]
                )
        module.combine_fore_back(str(folder / "fore.csv"), str(folder / "back.csv"), str(folder / "both.csv"))
        module.cal_score(str(folder / "both.csv"), str(folder / "score.csv"))
        module.model_score(str(folder / "score.csv"))
        rows = list(csv.reader((folder / "score.csv").open()))
    return [float(row[-1]) for row in rows[1:-1]], float(rows[-1][1])


if __name__ == "__main__":
    made = cases(60)
    scores, mean = official(Path(sys.argv[1]) / "Tracking_eval" / "motion_binding_score_cal.py", made)
    recorded = [case | {"score": score} for case, score in zip(made, scores, strict=True)]
    lines = ",\n".join(json.dumps(case) for case in recorded)
    target = Path(__file__).with_name("official_motion.json")
    target.write_text(f'{{"mean": {mean!r}, "cases": [\n{lines}\n]}}\n', encoding="utf-8")
