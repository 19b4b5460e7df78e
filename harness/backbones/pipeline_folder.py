"""Where a diffusers pipeline folder is, whether it is whole, and what its bytes are. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.api import Weights
from harness.backbones.known import known_models
from harness.errors import UserError

MODEL = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json")
TEXT_MODEL = ("model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class Layout:
    """What a kind of pipeline folder holds.

    `components`: folder to the files of which one suffices. `trained`: the component that is optimised. `example`: hub
    id of a whole one.
    """

    pipeline: str
    components: Mapping[str, tuple[str, ...]]
    trained: str
    example: str


def find(path: str, revision: str | None) -> Path | None:
    """The folder `path` stands for: one on disk, or a downloaded hub id's snapshot; None if it is not here."""
    if os.path.isdir(path):
        return Path(path)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        index = try_to_load_from_cache(path, "model_index.json", revision=revision)
    except HFValidationError:
        return None  # neither a folder nor a possible hub id, e.g. a mistyped path
    return Path(index).parent if isinstance(index, str) else None


def remedy(layout: Layout, path: str, revision: str | None) -> str:
    """The command that gets or completes the weights."""
    if os.path.isdir(path):
        return f"complete it: `hf download {layout.example} --local-dir {path}`"
    known = known_models().get(path)
    if known is not None and known.get:
        return f"get it with `{known.get}`"
    pinned = f" --revision {revision}" if revision else ""
    return f"get it with `hf download {path}{pinned}`"


def need(layout: Layout, path: str, revision: str | None) -> Path:
    """`find`, and every file is there. Raises UserError naming the first one missing and the command that gets it."""
    advice = remedy(layout, path, revision)
    folder = find(path, revision)
    if folder is None:
        raise UserError(f"backbone.path: {path} is neither a folder nor a downloaded model", advice)
    check_whole(layout, folder, advice)
    return folder


def weights(layout: Layout, path: str, whole: Callable[[], Path]) -> Weights:
    """What is known of the weights at `path` without loading them.

    Args:
        whole: gives the folder, or raises the UserError that says what is missing.
    """
    try:
        folder = whole()
    except UserError as error:
        return Weights(path, layout.trained, problem=error.problem, remedy=error.remedy)
    vae = read_json(folder / "vae" / "config.json", "")
    channels = int(vae.get("z_dim") or vae["latent_channels"])
    return Weights(path, layout.trained, count_parameters(layout, folder), channels)


def check_whole(layout: Layout, folder: Path, advice: str) -> None:
    """Raises UserError for another kind of pipeline, or naming the first file that is missing or damaged."""
    kind = read_json(folder / "model_index.json", advice).get("_class_name")
    if kind != layout.pipeline:
        raise UserError(
            f"{folder} holds a {kind}, not a {layout.pipeline}", f"choose a {layout.pipeline}, e.g. {layout.example}"
        )
    for component, files in layout.components.items():
        config = "tokenizer_config.json" if component == "tokenizer" else "config.json"
        read_json(folder / component / config, advice)
        there = [name for name in files if (folder / component / name).exists()]
        if not there:
            raise UserError(f"{folder / component / files[0]} is missing", advice)
        for file in _shards(folder / component / there[0], advice):
            if not file.exists():
                raise UserError(f"{file} is missing", advice)


def _shards(path: Path, advice: str) -> list[Path]:
    """The weight files behind `path`: itself, or what an index names."""
    if not path.name.endswith(".index.json"):
        return [path]
    return [path.with_name(name) for name in sorted(set(read_json(path, advice)["weight_map"].values()))]


def read_json(path: Path, advice: str) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{path} is missing", advice) from None
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}", advice) from error


def count_parameters(layout: Layout, folder: Path) -> dict[str, int]:
    """Parameters of every component with weights, from the headers of its safetensors files: nothing is loaded."""
    counts = {}
    for component, files in layout.components.items():
        there = [folder / component / name for name in files if (folder / component / name).exists()]
        if component != "tokenizer" and there:
            counts[component] = sum(sum(_elements(file)) for file in _shards(there[0], ""))
    return counts


def _elements(path: Path) -> Iterator[int]:
    """Elements of each tensor of a safetensors file: a little-endian length, then a JSON header of shapes."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    for name, tensor in header.items():
        if name != "__metadata__":
            size = 1
            for side in tensor["shape"]:
                size *= side
            yield size


# ---- digest ----------------------------------------------------------------------------------------------------


def folder_digest(layout: Layout, folder: Path) -> str:
    """sha256 over names and bytes of the pipeline's files, in sorted order; cards and the like do not count."""
    total = hashlib.sha256()
    files = [folder / "model_index.json"]
    for component in (*layout.components, "scheduler"):
        files += sorted(p for p in (folder / component).rglob("*") if p.is_file())
    for path, sha256 in zip(files, digests(files), strict=True):
        total.update(f"{path.relative_to(folder).as_posix()}\0{sha256}\n".encode())
    return total.hexdigest()


def digests(files: Iterable[Path]) -> list[str]:
    """sha256 of each file; a large one that did not change is read once, ever."""
    memory = _Memory()
    found = [memory.sha256(path) for path in files]
    memory.save()
    return found


class _Memory:
    """Digests of large files, kept between processes: a 25 GB folder is read once."""

    def __init__(self) -> None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self.path, self.new = cache / "mutoscope" / "digests.json", False
        self.known: dict[str, str] = {}
        with suppress(OSError, ValueError):  # a cache: absent or damaged means empty
            self.known = dict(json.loads(self.path.read_text(encoding="utf-8")))

    def sha256(self, path: Path) -> str:
        stat = path.stat()
        key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
        if key not in self.known:
            with open(path, "rb") as file:
                self.known[key] = hashlib.file_digest(file, "sha256").hexdigest()
            self.new = True
        return str(self.known[key])

    def save(self) -> None:
        if not self.new:
            return
        temporary = self.path.with_suffix(f".{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(self.known), encoding="utf-8")
            os.replace(temporary, self.path)
        except OSError:
            temporary.unlink(missing_ok=True)  # a read-only home costs time, not correctness
