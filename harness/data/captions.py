"""Captions of a folder of clips: metadata.csv, .jsonl or .json. File names are never read as prompts."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import UserError, did_you_mean

FORMATS = ("metadata.csv", "metadata.jsonl", "metadata.json")
FILE = "file_name"
CAPTION = ("caption", "prompt", "text")

Entry = dict[str, Any]


def find_captions(folder: Path) -> Path | None:
    """The caption file of a folder; None when there is none, UserError when there are several."""
    found = [folder / name for name in FORMATS if (folder / name).is_file()]
    if len(found) > 1:
        raise UserError(f"{folder}: {' and '.join(path.name for path in found)} both hold captions", "remove one")
    return found[0] if found else None


def read_prompts(path: Path | str) -> dict[str, Entry]:
    """Captions by file name: `{file_name: {"prompt": ..., further columns}}`, in the order of the file.

    Args:
        path: a folder, whose caption file is looked up (`{}` when it has none), or a caption file: .csv and .jsonl
            with a `file_name` and a `caption`, `prompt` or `text` column, or a .json map of file names to captions
            (or to rows with such a column).

    Raises:
        UserError: naming file and line; unreadable, a missing or doubled column or file name, an empty caption.
    """
    path = Path(path)
    source = find_captions(path) if path.is_dir() else path
    if source is None:
        return {}
    try:
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: cannot be read: {error}", "captions are UTF-8 text") from error
    readers = {".csv": _csv, ".jsonl": _jsonl, ".json": _json}
    if source.suffix not in readers:
        raise UserError(
            f"{source}: captions cannot be read from {source.suffix or 'this'} files", "use .csv, .jsonl or .json"
        )
    prompts: dict[str, Entry] = {}
    for where, row in readers[source.suffix](source, text):
        file = row.pop(FILE, None)
        if not (isinstance(file, str) and file.strip()):
            raise UserError(f"{where}: no {FILE}", f'give the row a "{FILE}": {did_you_mean(FILE, row)}')
        if file in prompts:
            raise UserError(f'{where}: "{file}" comes a second time', "remove one of the rows")
        prompts[file] = {"prompt": _caption(where, row), **row}
    return prompts


def _caption(where: str, row: Entry) -> str:
    """Take the caption out of a row."""
    columns = [name for name in CAPTION if name in row]
    if not columns:
        raise UserError(f"{where}: no caption", f'name its column "caption", "prompt" or "text"; {_known(row)}')
    if len(columns) > 1:
        raise UserError(f"{where}: {' and '.join(columns)} both hold a caption", "remove or rename one")
    caption = row.pop(columns[0])
    if not (isinstance(caption, str) and caption.strip()):
        raise UserError(f"{where}: the {columns[0]} is empty", "write one, or remove the row")
    return caption.strip()


def _known(row: Iterable[str]) -> str:
    return f"found: {', '.join(row) or 'nothing else'}"


def _csv(source: Path, text: str) -> Iterator[tuple[str, Entry]]:
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            where = f"{source}:{reader.line_num}"
            if not cells:
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                _check_header(where, header)
            elif len(cells) != len(header):
                raise UserError(f"{where}: {len(cells)} cells, the header has {len(header)}", "quote cells with commas")
            else:
                yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise UserError(f"{source}:{reader.line_num}: not CSV: {error}", "check the quotes") from error


def _check_header(where: str, header: list[str]) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UserError(f'{where}: two columns are called "{twice[0]}"', "rename one")
    if FILE not in header:
        raise UserError(f'{where}: no column "{FILE}"', f"the first line names the columns; {_known(header)}")
    if not set(CAPTION) & set(header):
        raise UserError(f'{where}: no column "caption" (or "prompt", "text")', _known(header))


def _jsonl(source: Path, text: str) -> Iterator[tuple[str, Entry]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{source}:{number}"
            row = _parse(where, line)
            if not isinstance(row, Mapping):
                raise UserError(f"{where}: not a row", f'write {{"{FILE}": ..., "caption": ...}}')
            yield where, dict(row)


def _json(source: Path, text: str) -> Iterator[tuple[str, Entry]]:
    rows = _parse(str(source), text)
    if not isinstance(rows, Mapping):
        raise UserError(f"{source}: not a map", 'write {"clip.mp4": "caption", ...}')
    for file, value in rows.items():
        row = dict(value) if isinstance(value, Mapping) else {"caption": value}
        yield f'{source}: "{file}"', {**row, FILE: file}


def _parse(where: str, text: str) -> Any:
    """JSON with doubled keys and non-finite numbers refused."""

    def once(pairs: list[tuple[str, Any]]) -> Entry:
        keys = [key for key, _ in pairs]
        twice = [key for key in keys if keys.count(key) > 1] if len(set(keys)) < len(keys) else []
        if twice:
            raise UserError(f'{where}: "{twice[0]}" comes twice', "remove one")
        return dict(pairs)

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is not a number that can be kept")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except ValueError as error:
        raise UserError(f"{where}: not JSON: {error}", "check the line") from error
