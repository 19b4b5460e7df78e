"""What official tools have answered, remembered on disk by everything that decided it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.cache import cache_folder


class Answers:
    """Answers of one tool in one state (`identity`: environment, weights, settings). Damaged entries are not there."""

    def __init__(self, tool: str, identity: Mapping[str, Any]) -> None:
        self.folder = cache_folder() / "workers" / "answers" / tool
        self.identity = identity

    def recall(self, sha256: str, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer to this request about the clip of these bytes; None if it has not been given."""
        try:
            entry: Any = json.loads(self._path(sha256, request).read_text(encoding="utf-8"))
            answer = entry["answer"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return answer if isinstance(answer, dict) and entry.get("digest") == _digest(answer) else None

    def keep(self, sha256: str, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Remember it, with what was asked for whoever reads the file."""
        entry = {"request": request, "answer": answer, "digest": _digest(answer), "identity": self.identity}
        path = self._path(sha256, request)
        draft = path.with_suffix(f".{os.getpid()}")
        with suppress(OSError):  # a cache that cannot be written costs a pass next time
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(entry, ensure_ascii=False, allow_nan=False), encoding="utf-8")
            os.replace(draft, path)

    def _path(self, sha256: str, request: Mapping[str, Any]) -> Path:
        return self.folder / sha256[:2] / f"{_digest([self.identity, sha256, request])}.json"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
