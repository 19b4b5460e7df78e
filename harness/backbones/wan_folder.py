"""Which WanPipeline folders can be read, and where the embedded one is. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from harness.backbones import pipeline_folder
from harness.backbones.pipeline_folder import MODEL, TEXT_MODEL, Layout, check_whole, read_json
from harness.errors import UserError

EMBEDDED = Path(__file__).parents[1] / "embedded" / "wan_shapes"
WAN = Layout(
    pipeline="WanPipeline",
    components={
        "tokenizer": ("tokenizer.json", "spiece.model"),
        "text_encoder": TEXT_MODEL,
        "transformer": MODEL,
        "vae": MODEL,
    },
    trained="transformer",
    example="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
)


def find(path: str, revision: str | None) -> Path | None:
    """The folder `path` stands for: the shipped one, one on disk, or a hub id's snapshot; None if it is not here."""
    return EMBEDDED if path == "embedded" else pipeline_folder.find(path, revision)


def need(path: str, revision: str | None) -> Path:
    """`find`, and every file is there. Raises UserError naming the first one missing and the command that gets it."""
    if path == "embedded":
        check_whole(WAN, EMBEDDED, "reinstall mutoscope, or make the weights with `mutoscope embedded train`")
        return EMBEDDED
    folder = pipeline_folder.need(WAN, path, revision)
    index = read_json(folder / "model_index.json", "")
    if index.get("transformer_2", [None])[0] or index.get("expand_timesteps"):
        raise UserError(f"{folder} is a Wan2.2 of two transformers or of per-token times", "use a Wan2.1 folder")
    return folder


def is_embedded(folder: Path) -> bool:
    """Whether `mutoscope embedded train` wrote it: its codec and closed vocabulary are ours."""
    return str(read_json(folder / "model_index.json", "").get("vae", [""])[0]).startswith("harness.")


def folder_digest(folder: Path) -> str:
    """sha256 over names and bytes of the pipeline's files."""
    return pipeline_folder.folder_digest(WAN, folder)
