"""Official code that no registry serves: one commit of a git repository, exported into a worker's environment."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, field_validator

COMMIT = re.compile(r"^[0-9a-f]{40}$")
NO_LFS = ("-c", "filter.lfs.smudge=", "-c", "filter.lfs.process=", "-c", "filter.lfs.required=false")
Run = Callable[[Sequence[str]], None]


class Source(BaseModel):
    """A repository at one commit. `paths`: folders in it that the worker imports from."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    url: str
    commit: str
    paths: tuple[str, ...] = (".",)

    @field_validator("commit")
    @classmethod
    def _whole(cls, commit: str) -> str:
        if not COMMIT.match(commit):
            raise ValueError("a commit is its forty hexadecimal digits, so that nobody can move it")
        return commit

    @field_validator("paths")
    @classmethod
    def _inside(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        if any(PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts for path in paths):
            raise ValueError("the path leaves the repository")
        return paths

    def folders(self, root: Path) -> list[Path]:
        """What goes on the worker's `sys.path`; `root` is where the repository lies."""
        return [root / path for path in self.paths]


def export(source: Source, root: Path, run: Run) -> None:
    """Fetch exactly this commit, without history, into the new folder `root`.

    Git checks every object against its name, so that what is checked out under this commit is this commit. Files that
    the repository keeps in LFS stay pointers: weights come from the weight tables.
    """
    git = ["git", *NO_LFS, "-C", str(root)]
    run(["git", "init", "--quiet", str(root)])
    run([*git, "fetch", "--quiet", "--depth", "1", source.url, source.commit])
    run([*git, "-c", "advice.detachedHead=false", "checkout", "--quiet", source.commit])
