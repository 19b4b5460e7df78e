"""The official vbench package as an engine: one process a dimension, in an environment of its own."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from harness.api import Clip, Score, UserError
from harness.weights import cache_folder, folder
from metrics.vbench.dimension import VBenchOptions
from metrics.vbench.table import GROUP
from metrics.workers.client import Program, Worker
from metrics.workers.known import environment

HERE = Path(__file__).with_name("official_env")
ABOUT_A_PROMPT = ("temporal_style", "overall_consistency", "human_action", "color")
SEED = 0  # nothing in the package is random; fixed all the same


def require_environment() -> Path:
    """The interpreter of the official environment. Raises UserError, with the command, unless it is built."""
    return environment("vbench").require()


class OfficialDimension:
    """A dimension as vbench 0.1.5 computes it, video by video; the process starts with the first."""

    def __init__(self, dimension: str, config: VBenchOptions) -> None:
        self.dimension, self.config = dimension, config
        self._folder: Path | None = None
        self._worker: Worker | None = None

    def score(self, clip: Clip) -> Score:
        """Its value and the parts that VBench's averages need; None with the reason where VBench has none.

        Raises:
            UserError: the environment is not built, the clip lacks what its prompt should say, or the package failed.
        """
        request = self._request(clip)
        if self._worker is None:
            self._worker = Worker(self._program())
        answer = self._worker.ask(request)
        if "skip" in answer:
            return Score(None, note=f"official package: {answer['skip']}")
        return Score(float(answer["value"]), answer["parts"])

    def close(self) -> None:
        """End the process and remove its private folder."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _request(self, clip: Clip) -> dict[str, object]:
        if self.dimension in ABOUT_A_PROMPT and clip.prompt is None:
            raise UserError(f"{clip.id}: no prompt", f"{self.dimension} compares a clip with its prompt")
        return {
            "path": str(clip.path.resolve()),
            "prompt": clip.prompt or "",
            "auxiliary": clip.meta.get("auxiliary_info", {}).get(self.dimension),
        }

    def _program(self) -> Program:
        where = environment("vbench")
        self._folder = Path(tempfile.mkdtemp(prefix=f"vbench-{self.dimension}-"))
        weights = folder(GROUP, self.config.weights).resolve()
        return Program(
            name=f"vbench {self.dimension} (official)",
            python=where.require(),
            script=HERE / "worker.py",
            arguments={
                "dimension": self.dimension,
                "device": self.config.device,
                "threads": threads(),
                "seed": SEED,
                "trusted": not self.config.unofficial_weights,
            },
            variables=arrange(self._folder, weights),
            folder=self._folder,
            log=cache_folder() / "workers" / "logs" / f"vbench-{self.dimension}.log",
            threads=threads(),
            paths=where.paths,
        )


def arrange(private: Path, weights: Path) -> dict[str, str]:
    """Everything where the package looks for it, as links in a private folder; its environment variables.

    torch.hub looks for DINO's weights in its own folder; transformers takes a folder of the model's name in the
    working directory for the model. What the package's libraries write on the way goes to the private folder too.
    """
    hub = private / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    (hub / "dino_vitbase16_pretrain.pth").symlink_to(weights / "dino_model" / "dino_vitbase16_pretrain.pth")
    (private / "bert-base-uncased").symlink_to(weights / "bert-base-uncased")
    own = {name: str(private / name.lower()) for name in ("HF_HOME", "MPLCONFIGDIR", "FVCORE_CACHE", "XDG_CACHE_HOME")}
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "NO_ALBUMENTATIONS_UPDATE"), "1")
    return {**own, **offline, "VBENCH_CACHE_DIR": str(weights), "TORCH_HOME": str(private / "torch")}


def threads() -> int:
    """As many as this process's own networks use."""
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else len(os.sched_getaffinity(0))
