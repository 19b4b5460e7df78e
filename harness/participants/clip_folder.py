"""`clip-folder`: clips made elsewhere, matched to the suite's prompts by their captions, as a row of a board."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from harness import video
from harness.api import Asked, ClipSpec, Made, Maker, Offer, Options, Participant, UserError, register_method
from harness.config import digest
from harness.data.captions import FORMATS, read_prompts
from harness.data.inspected import Inspected, inspect_clips
from harness.participants import mismatch
from harness.rows import normal_prompt

SHOWN = 3  # problems that are spelled out


class Place(NamedTuple):
    """What a clip is of: a prompt, one of its samples, a seed; None where the captions do not say."""

    prompt: str
    sample: int | None
    seed: int | None


class ClipFolderOptions(Options):
    """Where the clips are, and whether they may be changed to fit."""

    folder: str = Field(description="of video files")
    metadata: str | None = Field(None, description="the caption file, if it is not folder/metadata.{csv,jsonl,json}")
    fit: Literal["exact", "resample"] = Field(
        "exact", description="exact: files are taken byte for byte; resample: cut, scaled and encoded to the clip spec"
    )


class FolderOfClips(Maker):
    """Files by caption. A column `seed` says which seed a clip is of, a column `sample` which sample of its prompt."""

    places: ClassVar[tuple[str, ...]] = ("folder", "metadata")
    config: ClipFolderOptions

    @property
    def marks(self) -> tuple[str, ...]:
        return (*super().marks, *(("resampled",) if self.config.fit == "resample" else ()))

    def offer(self, asked: Sequence[Asked], first: int) -> Offer:
        found = {self._place(one, seed): one.id for one in asked for seed in self._seeds}
        used = {name: place for place, name in self._files.items() if place in found}
        clips = self._inspected(list(used))
        named = sorted([found[used[name]], used[name].seed, clips[name].sha256] for name in used)
        seeds = {first if place.seed is None else place.seed for place in used.values()}
        if not used:
            raise UserError(
                f"{self._source}: no clip has the caption of one of the suite's prompts", "captions are matched as text"
            )
        return Offer(tuple(sorted(seeds)), digest(named))

    def check(self, asked: Sequence[Asked], seed: int) -> None:
        problems = list(self._problems(asked, seed))
        if problems:
            more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
            remedy = "set fit: resample" if self.config.fit == "exact" else "replace them"
            raise UserError(
                f"seed {seed}: {len(problems)} of {len(asked)} clips cannot be used: "
                f"{'; '.join(problems[:SHOWN])}{more}",
                f"{remedy}, or leave the row out with --methods",
            )

    def make(self, asked: Sequence[Asked], seed: int) -> Sequence[Made]:
        self.check(asked, seed)
        return [self._made(self._name(one, seed) or "") for one in asked]

    # -- which file ---------------------------------------------------------------------------------------------------

    @property
    def _source(self) -> Path:
        return Path(self.config.metadata or self.config.folder)

    @cached_property
    def _files(self) -> Mapping[Place, str]:
        """File name of each place; UserError when two files have the same."""
        if not Path(self.config.folder).is_dir():
            raise UserError(f"{self.config.folder}: no such folder", "folder is a folder of clips")
        captions = read_prompts(self._source)
        if not captions:
            raise UserError(f"{self._source}: no captions", f"put them into one of {', '.join(FORMATS)}")
        files: dict[Place, str] = {}
        for name, entry in captions.items():
            place = Place(normal_prompt(entry["prompt"]), _whole(name, entry, "sample"), _whole(name, entry, "seed"))
            if place in files:
                raise UserError(
                    f'{self._source}: {files[place]} and {name} are both of "{entry["prompt"]}"',
                    "tell them apart with a column seed (or sample), or remove one",
                )
            files[place] = name
        if len({place.seed is None for place in files}) > 1:
            raise UserError(f"{self._source}: some rows have a seed, some have none", "give all of them one")
        return files

    @property
    def _seeds(self) -> set[int | None]:
        return {place.seed for place in self._files}

    def _place(self, asked: Asked, seed: int | None) -> Place:
        sample = asked.meta.get("sample") if isinstance(asked.meta.get("samples"), int) else None
        return Place(normal_prompt(asked.prompt), sample, seed)

    def _name(self, asked: Asked, seed: int) -> str | None:
        """The file of a prompt; clips without a seed stand for the one seed a plan gives them."""
        return self._files.get(self._place(asked, None if None in self._seeds else seed))

    # -- what is in it ------------------------------------------------------------------------------------------------

    def _inspected(self, names: Sequence[str]) -> Mapping[str, Inspected]:
        return inspect_clips(Path(self.config.folder), names)

    def _problems(self, asked: Sequence[Asked], seed: int) -> Iterator[str]:
        names = {one.id: self._name(one, seed) for one in asked}
        found = self._inspected([name for name in names.values() if name])
        for one in asked:
            name = names[one.id]
            if name is None:
                yield f'there is none of "{one.prompt}"'
            elif found[name].info is None:
                yield f"{name}: {found[name].problem}"
            elif problem := self._misfit(name, found[name].info):
                yield f"{name}: {problem}"

    def _misfit(self, name: str, info: Any) -> str:
        if self.config.fit == "exact":
            return mismatch(info, self.spec) or ("" if name.endswith(".mp4") else "it is not an .mp4 file")
        try:
            video.plan_resample(info, self.spec)
        except UserError as error:
            return error.problem
        return ""

    def _made(self, name: str) -> Made:
        path = Path(self.config.folder) / name
        source = {"file": name, "sha256": self._inspected([name])[name].sha256}
        if self.config.fit == "exact":
            return Made(path, source)
        footage = video.read(path)
        frames, plan = video.resample(footage.frames, footage.fps, self.spec)
        return Made(
            frames, source | {"frames": list(plan.frames), "scaled": list(plan.scaled), "crop": list(plan.crop)}
        )


def _whole(name: str, entry: Mapping[str, Any], column: str) -> int | None:
    """A whole number of a row, None where the column is empty or absent."""
    value = entry.get(column)
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool) or int(value) != float(value) or int(value) < 0:
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise UserError(f"{name}: {column} {value!r} is no whole number", "number them 0, 1, ...") from None


@register_method
class ClipFolder(Participant):
    """Clips made elsewhere, from a folder with a caption file; a row that costs nothing here, and is marked so."""

    name = "clip-folder"
    Config: ClassVar[type[Options]] = ClipFolderOptions

    @classmethod
    def maker(cls, config: Any, spec: ClipSpec) -> Maker:
        return FolderOfClips(config, spec)
