"""What a killed training of a shipped network goes on from: one file, replaced in one go.

torch is imported only inside the functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import UserError

Protocol = Mapping[str, Any]  # the options that decide the numbers


def save_state(path: Path, step: int, protocol: Protocol, parts: Mapping[str, Any], **further: Any) -> None:
    """Write the step and every part's `state_dict()`: a kill leaves the old file or the new one."""
    import torch

    states = {name: part.state_dict() for name, part in parts.items()}
    fresh = path.with_name(path.name + ".part")
    torch.save({"step": step, "protocol": dict(protocol), "states": states, **further}, fresh)
    fresh.replace(path)


def load_state(path: Path, protocol: Protocol, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Load the file into `parts`; what else it says, `step` among it, which is 0 without a file.

    Raises:
        UserError: it is of another run.
    """
    import torch

    if not path.is_file():
        return {"step": 0}
    saved: dict[str, Any] = torch.load(path, weights_only=True)
    if saved["protocol"] != protocol:
        raise UserError(f"{path} is of another run: {saved['protocol']}", "delete it or give another --state")
    for name, part in parts.items():
        part.load_state_dict(saved["states"][name])
    return saved
