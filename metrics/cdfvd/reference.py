"""The real clips that generated ones are compared with: a folder of them, or a file of their statistics.

A folder's features are computed once and kept in the cache folder, by the digest of its clips and of the extractor;
`python -m metrics.cdfvd.reference FOLDER --model i3d --out real.npz` does it ahead of time, into a file to pass on.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

from harness.api import Clip, UserError
from harness.cache import cache_folder
from harness.features import FeatureStore, extract_key, sha256_file
from metrics.cdfvd.extract import WindowExtractor
from metrics.cdfvd.frechet import Gaussian
from metrics.cdfvd.statistics import FeatureSet, Reference, read, write

SUFFIXES = {".avi", ".mp4", ".webm", ".mov", ".mkv", ".m4v"}  # data_utils.py, VID_EXTENSIONS
Report = Callable[[int, int], None]


def clip_files(folder: Path) -> tuple[Path, ...]:
    """Every video file under a folder, by name. Raises UserError when there is none."""
    files = tuple(sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()))
    if not files:
        raise UserError(f"{folder}: no video files in it", f"known: {', '.join(sorted(SUFFIXES))}")
    return files


def reference_files(reference: Path) -> tuple[Path, ...]:
    """The files whose bytes decide a reference. Raises UserError when there is none."""
    if reference.is_dir():
        return clip_files(reference)
    if not reference.is_file():
        raise UserError(f"{reference}: no such reference", "give a folder of clips, or statistics as .npz or .pkl")
    return (reference,)


def check(reference: Path, extractor: WindowExtractor) -> None:
    """Before any clip is looked at: raises UserError when a file does not go with what clips will be turned into."""
    if not reference.is_dir():
        load(reference, extractor)


def load(
    reference: Path, extractor: WindowExtractor, cache: Path | None = None, report: Report | None = None
) -> Reference:
    """The reference in a file, or of a folder of clips: from the cache, or computed and put there.

    Raises:
        UserError: it cannot be read, was made with another network or sampling, or holds less than two clips that
            are long enough.
    """
    if reference.is_dir():
        path = computed(clip_files(reference), extractor, cache or cache_folder() / "cdfvd", report)
    else:
        path = reference
    found = read(path)
    if found.made_with and found.made_with != extract_key(extractor):
        raise UserError(
            f"{reference}: made with {found.made_with}, the clips' features are {extract_key(extractor)}",
            "make the statistics anew with the same model, weights, resolution, sequence length and start",
        )
    if found.gaussian.size != extractor.size:
        raise UserError(
            f"{reference}: features of {found.gaussian.size} and of {extractor.size} dimensions cannot be compared",
            "give statistics of the same network",
        )
    if found.gaussian.count < 2:
        raise UserError(f"{reference}: a single clip has no covariance", "give a reference of at least two clips")
    return found


def computed(files: tuple[Path, ...], extractor: WindowExtractor, cache: Path, report: Report | None = None) -> Path:
    """The file of these clips' features; what of it is there from an interrupted run is not computed again."""
    digests = [sha256_file(path) for path in files]
    key = extract_key(extractor)
    name = hashlib.sha256("\n".join([key, *sorted(digests)]).encode()).hexdigest()
    path = cache / f"{name}.npz"
    if _whole(path):
        return path
    store, found = FeatureStore(cache / "extracts"), FeatureSet()
    for number, (file, sha256) in enumerate(zip(files, digests, strict=True)):
        with store.open(Clip(file.name, file, sha256), [extractor]) as features:
            found.add(sha256, features.of(extractor))
        if report is not None:
            report(number + 1, len(files))
    if not len(found):
        raise UserError(f"{files[0].parent}: none of its {len(files)} clips is long enough", "give longer clips")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".part.npz")
    write(fresh, found.array(), key, found.short)
    fresh.replace(path)
    return path


def _whole(path: Path) -> bool:
    """There, and undamaged; a damaged one is made anew."""
    try:
        return path.is_file() and isinstance(read(path).gaussian, Gaussian)
    except UserError:
        return False


def main() -> None:
    from metrics.cdfvd.official import OfficialOptions, extractor_of

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", choices=("videomae", "i3d"), default="videomae")
    parser.add_argument("--resolution", type=int, default=OfficialOptions().resolution)
    parser.add_argument("--sequence-length", type=int, default=OfficialOptions().sequence_length)
    parser.add_argument("--weights", help="folder of the checkpoints [default: Mutoscope's cache]")
    parser.add_argument("--unofficial-weights", action="store_true")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, required=True, help="an .npz")
    given = parser.parse_args()
    options = {key: value for key, value in vars(given).items() if key not in {"folder", "out"}}
    extractor = extractor_of(OfficialOptions.model_validate(options))
    found = computed(
        clip_files(given.folder),
        extractor,
        cache_folder() / "cdfvd",
        lambda done, of: print(f"\r{done}/{of} clips", end="", file=sys.stderr),
    )
    given.out.write_bytes(found.read_bytes())
    print(f"\n{given.out}: {read(given.out).gaussian.count} clips, {extract_key(extractor)}")


if __name__ == "__main__":
    main()
