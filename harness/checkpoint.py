"""A training's files: the snapshot a killed run resumes from, the final weights, and reading those back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.errors import UserError
from harness.job import Job, load_backbone
from harness.plan import Cell
from harness.store import atomic, file_digest, read_json, write_json

if TYPE_CHECKING:
    from torch import Tensor


def write_snapshot(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, str]) -> None:
    """Everything a resumed run needs, in one atomic file."""
    from safetensors.torch import save_file

    with atomic(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary, dict(meta))


def read_snapshot(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and meta of a snapshot. Raises UserError when it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise UserError(f"{path}: damaged: {error}", "remove it to train this cell from the start") from error


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def write_weights(folder: Path, roles: Mapping[str, Mapping[str, Tensor]], meta: Mapping[str, Any]) -> None:
    """Final weights, one file a role, then `weights.json`: the marker that makes the stage complete."""
    files = {}
    for role, state in roles.items():
        path = folder / f"{role}.safetensors"
        write_snapshot(path, state, {})
        files[path.name] = file_digest(path)
    write_json(folder / "weights.json", {**meta, "files": files})


def trained_roles(job: Job) -> dict[str, Any]:
    """What generation samples with: trained networks read back, those of other rows included; else the backbone."""
    roles = {"student": load_backbone(job.plan, job.device)}
    if job.cell.trains:
        roles |= _read(job, job.cell)
    for role, parent in job.cell.parents.items():
        found = _read(job, parent)
        if role not in found:
            raise UserError(
                f"{job.cell.row}: row {parent.row} trains {', '.join(found) or 'nothing'}, not the role {role}",
                f"name a row that trains {role}",
            )
        roles[role] = found[role]
    return roles


def _read(job: Job, cell: Cell) -> dict[str, Any]:
    from safetensors.torch import load_file

    kind = registry.methods.get(cell.method)
    config = kind.Config.model_validate(dict(cell.config))
    base = load_backbone(job.plan, job.device)
    folder, roles = cell.path / "checkpoint", {}
    for name, sha256 in read_json(folder / "weights.json")["files"].items():
        path = folder / name
        if not path.exists() or file_digest(path) != sha256:
            raise UserError(f"{path}: missing or damaged", f"remove {folder} to train this cell again")
        role = kind.build(config, path.stem, base, True)
        role.net.load_state_dict(load_file(path, device=job.device))
        role.net.requires_grad_(False).eval()
        roles[path.stem] = role
    return roles
