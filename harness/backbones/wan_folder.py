"""Where a WanPipeline folder is, whether it is whole, and what its bytes are. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import UserError

EMBEDDED = Path(__file__).parents[1] / "embedded" / "wan_shapes"
_COMPONENTS = {  # what must be in a folder: the files of which one suffices
    "tokenizer": ("tokenizer.json", "spiece.model"),
    "text_encoder": ("model.safetensors", "model.safetensors.index.json"),
    "transformer": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json"),
    "vae": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json"),
}


def find(path: str, revision: str | None) -> Path | None:
    """The folder `path` stands for: the shipped one, one on disk, or a hub id's snapshot; None if it is not here."""
    if path == "embedded":
        return EMBEDDED
    if os.path.isdir(path):
        return Path(path)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        index = try_to_load_from_cache(path, "model_index.json", revision=revision)
    except HFValidationError:
        return None  # neither a folder nor a possible hub id, e.g. a mistyped path
    return Path(index).parent if isinstance(index, str) else None


def need(path: str, revision: str | None) -> Path:
    """`find`, and every file is there. Raises UserError naming the first one missing and the command that gets it."""
    remedy = _remedy(path, revision)
    folder = find(path, revision)
    if folder is None:
        raise UserError(f"backbone.path: {path} is neither a folder nor a downloaded model", remedy)
    index = read_json(folder / "model_index.json", remedy)
    if index.get("_class_name") != "WanPipeline":
        raise UserError(f"{folder} holds a {index.get('_class_name')}, not a WanPipeline", "choose a Wan text-to-video")
    if index.get("transformer_2", [None])[0] or index.get("expand_timesteps"):
        raise UserError(f"{folder} is a Wan2.2 of two transformers or of per-token times", "use a Wan2.1 folder")
    for component, files in _COMPONENTS.items():
        config = "tokenizer_config.json" if component == "tokenizer" else "config.json"
        read_json(folder / component / config, remedy)
        there = [name for name in files if (folder / component / name).exists()]
        if not there:
            raise UserError(f"{folder / component / files[0]} is missing", remedy)
        if there[0].endswith(".index.json"):
            for shard in sorted(set(read_json(folder / component / there[0], remedy)["weight_map"].values())):
                if not (folder / component / shard).exists():
                    raise UserError(f"{folder / component / shard} is missing", remedy)
    return folder


def is_embedded(folder: Path) -> bool:
    """Whether `mutoscope embedded train` wrote it: its codec and closed vocabulary are ours."""
    return str(read_json(folder / "model_index.json", "").get("vae", [""])[0]).startswith("harness.")


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{path} is missing", remedy) from None
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}", remedy) from error


def folder_digest(folder: Path) -> str:
    """sha256 over names and bytes of the pipeline's files, in sorted order; cards and the like do not count."""
    total = hashlib.sha256()
    files = [folder / "model_index.json"]
    for component in (*_COMPONENTS, "scheduler"):
        files += sorted(p for p in (folder / component).rglob("*") if p.is_file())
    memory = _Memory()
    for path in files:
        total.update(f"{path.relative_to(folder).as_posix()}\0{memory.sha256(path)}\n".encode())
    memory.save()
    return total.hexdigest()


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


def _remedy(path: str, revision: str | None) -> str:
    if path == "embedded":
        return "reinstall mutoscope, or make the weights with `mutoscope embedded train`"
    if os.path.isdir(path):
        return "complete it: `hf download Wan-AI/Wan2.1-T2V-1.3B-Diffusers --local-dir " + f"{path}`"
    pinned = f" --revision {revision}" if revision else ""
    return f"get it with `hf download {path}{pinned}`"
