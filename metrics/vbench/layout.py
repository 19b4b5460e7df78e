"""Folders as VBench wants them, `{prompt}-{k}.mp4`: names are made from the prompts and looked up, never parsed."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.api import Clip, UserError
from harness.features import sha256_file
from metrics.vbench.prompts import (
    FLICKERING,
    SAMPLES,
    STATIC_SAMPLES,
    Entry,
    official_prompts,
    sample_count,
    sample_meta,
)

SUFFIXES = (".mp4", ".gif", ".mov", ".mkv", ".webm", ".avi", ".m4v")  # the first one there is taken
LONGEST = 255  # bytes of a file name on every common file system
SHOWN = 3


@dataclass(frozen=True)
class Layout:
    """What a folder holds of a prompt list."""

    clips: tuple[Clip, ...]  # in the order of the prompts, samples in theirs
    missing: tuple[str, ...]  # file names that were looked for
    stray: tuple[str, ...]  # files that no prompt asks for

    def notes(self) -> list[str]:
        """What a user should know, a line each."""
        lines = []
        if self.missing:
            whole = len(self.missing) + len(self.clips)
            lines.append(f"{len(self.missing)} of {whole} official clips are missing: {_some(self.missing)}")
        if self.stray:
            lines.append(f"{len(self.stray)} files are no official clips, left alone: {_some(self.stray)}")
        return lines


def find_official(folder: Path) -> list[Clip]:
    """The clips of VBench's prompts in a folder, with what metrics need to know of them; see `survey`."""
    return list(survey(folder).clips)


def survey(folder: Path, prompts: Sequence[Entry] | None = None) -> Layout:
    """Which clips of the prompts (default: the official ones) a folder holds. Subfolders are passed over.

    Names agree up to Unicode normal form (macOS takes "ç" apart) but not up to case: two official prompts differ in
    nothing else. Of temporal_flickering 25 samples are expected if any prompt has a sixth; five are what VBench's
    static filter leaves of them.

    Raises:
        UserError: the folder is not there, holds none of the clips, or a prompt cannot be a file name.
    """
    entries = official_prompts() if prompts is None else prompts
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder", "give the folder of the samples")
    files = {unicodedata.normalize("NFC", path.name): path for path in sorted(folder.iterdir()) if path.is_file()}
    flickering = [entry for entry in entries if FLICKERING in entry.dimensions]
    more = any(_find(files, entry, sample) for entry in flickering for sample in range(SAMPLES, STATIC_SAMPLES))
    clips, missing = list[Clip](), list[str]()
    for entry in entries:
        samples = sample_count(entry, SAMPLES, STATIC_SAMPLES if more else SAMPLES)
        for sample in range(samples):
            path = _find(files, entry, sample)
            if path is None:
                missing.append(clip_name(entry.prompt, sample))
                continue
            meta = sample_meta(entry, sample, samples)
            clips.append(Clip(path.name, path, sha256_file(path), entry.prompt, None, meta))
    if not clips:
        expected = f'expected names like "{missing[0]}"' if missing else "there are no prompts to look for"
        raise UserError(f"{folder}: no file is called like a clip of VBench's prompts", expected)
    taken = {clip.path for clip in clips}
    return Layout(tuple(clips), tuple(missing), tuple(path.name for path in files.values() if path not in taken))


def by_prompt(clips: Sequence[Clip]) -> list[Clip]:
    """Clips with prompts from metadata as samples of the official prompts: the k-th one of a prompt is its sample k.

    What the metadata says itself (`dimensions`, `sample`) stays. Clips of other prompts are returned as they are.

    Raises:
        UserError: none of the prompts is an official one.
    """
    entries = {entry.prompt: entry for entry in official_prompts()}
    counts = Counter(clip.prompt for clip in clips if clip.prompt in entries)
    if not counts:
        raise UserError(
            "none of the clips has a prompt of VBench's", "see mutoscope vbench prompts, or use --mode custom"
        )
    seen: Counter[str] = Counter()
    found = []
    for clip in clips:
        if clip.prompt in entries and "dimensions" not in clip.meta:
            meta = sample_meta(entries[clip.prompt], seen[clip.prompt], counts[clip.prompt])
            seen[clip.prompt] += 1
            clip = replace(clip, meta={**clip.meta, **meta})
        found.append(clip)
    return found


def clip_name(prompt: str, sample: int, suffix: str = ".mp4") -> str:
    """The file name VBench looks for. UserError for a prompt that no file can be called after."""
    name = unicodedata.normalize("NFC", f"{prompt}-{sample}{suffix}")
    if "/" in name or "\0" in name or len(name.encode()) > LONGEST:
        raise UserError(
            f'no file can be called after the prompt "{prompt[:60]}{"..." if len(prompt) > 60 else ""}"',
            "give such clips any name and put their prompts into metadata.csv beside them",
        )
    return name


def _find(files: dict[str, Path], entry: Entry, sample: int) -> Path | None:
    names = (clip_name(entry.prompt, sample, suffix) for suffix in SUFFIXES)
    return next((files[name] for name in names if name in files), None)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
