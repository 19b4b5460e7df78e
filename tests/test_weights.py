"""Weight files: verified before they count, fetched over bad connections, never half there."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import cache, downloads, transfer
from harness.commands import weights as commands
from harness.errors import UserError
from harness.store import write_json
from harness.weights import Entry, Held, Shelf, Source, Table, folder, read_table

ROOT = Path(__file__).parents[1]
DATA = np.random.default_rng(0).bytes(3_000_001)
SHA = hashlib.sha256(DATA).hexdigest()
OTHER = bytes(255 - byte for byte in DATA[:1000]) + DATA[1000:]


@dataclass
class Site:
    """A small web server that can behave badly; `log` holds (method, path, Range) of every request."""

    files: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)  # answers that come first, by path
    drop: dict[str, list[int]] = field(default_factory=dict)  # bytes after which an answer breaks off, one an answer
    ranges: bool = True
    pause: float = 0.0  # seconds between pieces of 64 kB
    log: list[tuple[str, str, str]] = field(default_factory=list)
    tokens: dict[str, str | None] = field(default_factory=dict)  # Authorization by path
    url: str = ""

    def asked(self, path: str) -> list[str]:
        return [span for method, where, span in self.log if where == path and method == "GET"]


def handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            span = self.headers.get("Range", "")
            site.log.append((self.command, self.path, span))
            site.tokens[self.path] = self.headers.get("Authorization")
            extra = site.headers.get(self.path, {})
            if site.statuses.get(self.path):
                return self.head(site.statuses[self.path].pop(0), {"Content-Length": "0", "Retry-After": "7"})
            if "Location" in extra:
                return self.head(302, extra | {"Content-Length": "0"})
            if self.path not in site.files:
                return self.head(404, {"Content-Length": "0"})
            data, etag = site.files[self.path], site.etags.get(self.path, "")
            condition = self.headers.get("If-Range")
            start = int(span[6:-1]) if span and site.ranges and condition in (None, etag) else 0
            if start >= len(data):
                return self.head(416, {"Content-Range": f"bytes */{len(data)}", "Content-Length": "0"})
            ranged = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
            named = {"ETag": etag} if etag else {}
            self.head(206 if start else 200, extra | named | ranged | {"Content-Length": str(len(data) - start)})
            if with_body:
                self.body(data[start:])

        def head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def body(self, data: bytes) -> None:
            limits = site.drop.get(self.path)
            data = data[: limits.pop(0)] if limits else data
            for first in range(0, len(data), 2**16):
                self.wfile.write(data[first : first + 2**16])
                time.sleep(site.pause)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site({"/a.pth": DATA}, {"/a.pth": '"v1"'})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(site))
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    monkeypatch.setenv("MUTOSCOPE_CACHE", str(tmp_path / "cache"))
    for name in ("MUTOSCOPE_WEIGHTS", "MUTOSCOPE_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def entry(*sources: Source, file: str = "net/a.pth", sha256: str | None = SHA, size: int | None = len(DATA)) -> Entry:
    return Entry.model_validate(
        {"file": file, "for": ["speed"], "size": size, "sha256": sha256, "licence": "MIT", "sources": sources}
    )


def shelf(tmp_path: Path, *entries: Entry) -> Shelf:
    return Shelf(Table(group="toy", about="toys", files=entries), tmp_path / "shelf")


def bring(where: Shelf, what: Entry) -> tuple[str, list[str]]:
    """Where it came from, and what was said."""
    said: list[str] = []
    return downloads.fetch(where, what, lambda done, total: None, said.append), said


def left(where: Shelf) -> list[str]:
    """Files of the shelf, locks aside."""
    found = [str(path.relative_to(where.folder)) for path in where.folder.rglob("*") if path.is_file()]
    return sorted(name for name in found if not name.startswith(".locks"))


# ---- what is there -----------------------------------------------------------------------------------------------


def test_missing_files_are_one_message_with_the_command(tmp_path: Path) -> None:
    names = [f"net/{letter}.pth" for letter in "abcdef"]
    entries = [entry(Source(url="http://x/a"), file=name) for name in names]
    where = shelf(tmp_path, *entries)
    with pytest.raises(UserError) as caught:
        where.require(entries, ["speed"])
    assert caught.value.problem == (
        f"{where.folder}: net/a.pth, net/b.pth, net/c.pth, net/d.pth and 2 more are missing"
    )
    assert caught.value.remedy == f"fetch with `mutoscope weights fetch toy --for speed --dir {where.folder}`"


def test_the_folder_is_configured_or_the_environments_or_the_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder("toy") == tmp_path / "cache" / "weights" / "toy"
    monkeypatch.setenv("MUTOSCOPE_WEIGHTS", str(tmp_path / "w"))
    assert folder("toy") == tmp_path / "w" / "toy"
    assert folder("toy", "~/mine") == Path("~/mine").expanduser()


def test_a_path_with_spaces_and_quotes_is_quoted_in_the_command(tmp_path: Path) -> None:
    where = Shelf(Table(group="toy", about="", files=(entry(Source(url="http://x/a")),)), tmp_path / "it's here")
    assert where.command(["speed"]).endswith(f"""--dir '{tmp_path}/it'"'"'s here'""")


@pytest.mark.parametrize("data", [OTHER, DATA + b"x", b"<!doctype html>"])
def test_other_bytes_are_refused_unless_they_are_meant_to_differ(tmp_path: Path, data: bytes) -> None:
    what = entry(Source(url="http://x/a"))
    where = shelf(tmp_path, what)
    where.path(what).parent.mkdir(parents=True)
    where.path(what).write_bytes(data)
    with pytest.raises(UserError) as caught:
        where.check(what)
    assert SHA in caught.value.problem
    found = hashlib.sha256(data).hexdigest() if len(data) == len(DATA) else f"{len(data)} bytes"
    assert found in caught.value.problem
    assert "mutoscope weights fetch toy --for speed" in caught.value.remedy
    assert "unofficial_weights" in caught.value.remedy
    assert where.check(what, unofficial=True) == where.path(what)


def test_code_that_differs_is_never_accepted(tmp_path: Path) -> None:
    what = entry(Source(url="http://x/a")).model_copy(update={"support": True})
    where = shelf(tmp_path, what)
    where.path(what).parent.mkdir(parents=True)
    where.path(what).write_bytes(OTHER)
    with pytest.raises(UserError, match="not the published file"):
        where.check(what, unofficial=True)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"file": "../a.pth"}, "files.0.file: the path leaves the folder"),
        ({"file": "/a.pth"}, "files.0.file: the path leaves the folder"),
        ({"sha256": "abc"}, "files.0.sha256: String should match pattern"),
        ({"sha256": SHA + "\n"}, "files.0.sha256: String should match pattern"),
        ({"sources": [{"url": "file:///etc/passwd"}]}, "files.0.sources.0.url: String should match"),
        ({"sources": [{"hub": "a/b"}]}, "files.0.sources.0: a source is either"),
        ({"sources": [{"hub": "a/b", "file": "c", "url": "http://x"}]}, "files.0.sources.0: a source is either"),
        ({"licens": "MIT"}, "files.0.licens: unknown key"),
    ],
)
def test_a_mistake_in_a_table_is_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    row = {"file": "a.pth", "for": ["speed"], "licence": "MIT", "sources": [{"url": "http://x"}]}
    path = tmp_path / "weights.yaml"
    path.write_text(json.dumps({"group": "toy", "about": "toys", "files": [row]}))
    assert read_table(path).files[0].purposes == ("speed",)
    path.write_text(json.dumps({"group": "toy", "about": "toys", "files": [row | change]}))
    with pytest.raises(UserError) as caught:
        read_table(path)
    assert problem in caught.value.problem


# ---- fetching ----------------------------------------------------------------------------------------------------


def test_a_file_is_fetched_once(tmp_path: Path, site: Site) -> None:
    what = entry(Source(url=f"{site.url}/a.pth"))
    where = shelf(tmp_path, what)
    assert bring(where, what) == (f"{site.url}/a.pth", [])
    assert where.check(what).read_bytes() == DATA
    assert bring(where, what) == ("", [])
    assert site.asked("/a.pth") == [""]
    assert left(where) == ["net/a.pth"]


def test_a_connection_that_breaks_is_gone_on_with(tmp_path: Path, site: Site) -> None:
    pieces = [1_000_000, 500_000] + [1000] * transfer.ATTEMPTS  # as long as bytes come, it goes on
    site.drop["/a.pth"] = list(pieces)
    what = entry(Source(url=f"{site.url}/a.pth"))
    where = shelf(tmp_path, what)
    bring(where, what)
    assert where.path(what).read_bytes() == DATA
    assert site.asked("/a.pth") == ["", *(f"bytes={held}-" for held in np.cumsum(pieces))]


def test_a_server_without_ranges_starts_over(tmp_path: Path, site: Site) -> None:
    site.ranges, site.drop["/a.pth"] = False, [1_000_000]
    what = entry(Source(url=f"{site.url}/a.pth"))
    where = shelf(tmp_path, what)
    bring(where, what)
    assert where.path(what).read_bytes() == DATA
    assert site.asked("/a.pth") == ["", "bytes=1000000-"]


def test_breaking_off_at_the_same_byte_again_and_again_ends(tmp_path: Path, site: Site) -> None:
    site.ranges, site.drop["/a.pth"] = False, [100_000] * 50
    what = entry(Source(url=f"{site.url}/a.pth"))
    with pytest.raises(downloads.SourceError, match=r"none of its sources"):
        bring(shelf(tmp_path, what), what)
    assert len(site.asked("/a.pth")) == transfer.ATTEMPTS


def test_a_part_of_an_older_version_is_not_continued(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = entry(Source(url=f"{site.url}/a.pth"))
    where = shelf(tmp_path, what)
    site.files["/a.pth"], site.drop["/a.pth"] = OTHER, [1_000_000]
    with monkeypatch.context() as patch:
        patch.setattr(transfer, "ATTEMPTS", 1)
        with pytest.raises(downloads.SourceError):
            bring(where, what)
    part = where.folder / "net" / ".a.pth.part"
    assert part.stat().st_size == 1_000_000
    site.files["/a.pth"], site.etags["/a.pth"], site.log[:] = DATA, '"v2"', []
    bring(where, what)
    assert where.path(what).read_bytes() == DATA
    assert site.asked("/a.pth") == ["bytes=1000000-"]  # answered whole: If-Range named another version
    assert left(where) == ["net/a.pth"]


def test_a_part_from_another_source_is_not_continued(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    site.files["/b.pth"], site.etags["/b.pth"], site.drop["/a.pth"] = DATA, '"v1"', [1_000_000]
    what = entry(Source(url=f"{site.url}/a.pth"), Source(url=f"{site.url}/b.pth"))
    bring(shelf(tmp_path, what), what)
    assert site.asked("/b.pth") == [""]


def test_a_rotten_part_is_thrown_away_and_fetched_again(tmp_path: Path, site: Site) -> None:
    what = entry(Source(url=f"{site.url}/a.pth"))
    where = shelf(tmp_path, what)
    part = where.folder / "net" / ".a.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(OTHER[:1_000_000])
    write_json(part.with_name(".a.pth.part.json"), {"url": f"{site.url}/a.pth", "tag": "", "validator": '"v1"'})
    bring(where, what)
    assert where.path(what).read_bytes() == DATA
    assert site.asked("/a.pth") == ["bytes=1000000-", ""]


@pytest.mark.parametrize(("size", "asked"), [(len(DATA), []), (None, [f"bytes={len(DATA)}-"])])
def test_a_part_that_is_whole_does_not_come_again(
    tmp_path: Path, site: Site, size: int | None, asked: list[str]
) -> None:
    what = entry(Source(url=f"{site.url}/a.pth"), size=size)
    where = shelf(tmp_path, what)
    part = where.folder / "net" / ".a.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA)
    write_json(part.with_name(".a.pth.part.json"), {"url": f"{site.url}/a.pth", "tag": "", "validator": '"v1"'})
    bring(where, what)
    assert where.path(what).read_bytes() == DATA
    assert site.asked("/a.pth") == asked


@pytest.mark.parametrize("size", [len(DATA), None])
def test_other_bytes_from_a_source_never_reach_the_shelf(tmp_path: Path, site: Site, size: int | None) -> None:
    site.files["/a.pth"] = OTHER
    what = entry(Source(url=f"{site.url}/a.pth"), size=size)
    where = shelf(tmp_path, what)
    with pytest.raises(downloads.SourceError):
        bring(where, what)
    assert left(where) == []


def test_another_size_is_refused_before_its_bytes_come(tmp_path: Path, site: Site) -> None:
    site.files["/a.pth"], site.files["/b.pth"] = b"<html>sign in first</html>", DATA
    what = entry(Source(url=f"{site.url}/a.pth"), Source(url=f"{site.url}/b.pth"))
    where = shelf(tmp_path, what)
    came, said = bring(where, what)
    assert came == f"{site.url}/b.pth"
    assert said == [f"{site.url}/a.pth: it serves another file: 26 bytes instead of 3000001"]


def test_passing_trouble_is_waited_for_and_refusals_are_not(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(transfer, "PAUSE", 4.0)
    monkeypatch.setattr(transfer.time, "sleep", lambda seconds: waits.append(seconds) if seconds > 1 else None)
    site.statuses = {"/a.pth": [503, 429, 500], "/gone.pth": [403]}
    what = entry(Source(url=f"{site.url}/gone.pth"), Source(url=f"{site.url}/a.pth"))
    came, said = bring(shelf(tmp_path, what), what)
    assert came == f"{site.url}/a.pth"
    assert said == [f"{site.url}/gone.pth: 403 Forbidden"]
    assert len(site.asked("/gone.pth")) == 1
    assert len(site.asked("/a.pth")) == 4
    assert waits == [7.0, 8.0, 16.0]  # what the server asked for, then longer each time


@pytest.mark.parametrize("source", [Source(url="http://nowhere.invalid/a.pth"), Source(hub="own/er", file="a.pth")])
def test_without_a_network_nothing_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Source
) -> None:
    asked: list[str] = []

    def unknown(host: str, *_: Any, **__: Any) -> None:
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(transfer.time, "sleep", lambda seconds: pytest.fail("it waited"))
    with pytest.raises(downloads.SourceError):
        bring(shelf(tmp_path, entry(source)), entry(source))
    assert len(set(asked)) == 1


def test_what_was_there_before_is_kept_aside(tmp_path: Path, site: Site) -> None:
    what = entry(Source(url=f"{site.url}/a.pth"))
    where = shelf(tmp_path, what)
    where.path(what).parent.mkdir(parents=True)
    where.path(what).write_bytes(OTHER)
    _, said = bring(where, what)
    assert said == ["net/a.pth: not the published file; once that is here, this one is kept as .old"]
    assert where.path(what).read_bytes() == DATA
    assert (where.folder / "net" / "a.pth.old").read_bytes() == OTHER


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_one_member_of_an_archive_is_taken_and_nothing_else(tmp_path: Path, site: Site) -> None:
    site.files["/models.zip"] = zipped(**{"../evil": b"evil", "/evil": b"evil", "models/a.pth": DATA})
    site.drop["/models.zip"] = [500_000]
    site.etags["/models.zip"] = '"zip"'
    what = entry(Source(url=f"{site.url}/models.zip", member="models/a.pth"))
    where = shelf(tmp_path, what)
    bring(where, what)
    assert where.path(what).read_bytes() == DATA
    assert site.asked("/models.zip") == ["", "bytes=500000-"]
    assert left(where) == ["net/a.pth"]
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("archive", [zipped(x=DATA), zipped(**{"models/a.pth": DATA + b"x"}), DATA, zipped(x=b"")[:-9]])
def test_an_archive_without_the_file_is_refused(tmp_path: Path, site: Site, archive: bytes) -> None:
    site.files["/models.zip"] = archive
    what = entry(Source(url=f"{site.url}/models.zip", member="models/a.pth"))
    where = shelf(tmp_path, what)
    with pytest.raises(downloads.SourceError):
        bring(where, what)
    assert left(where) == []


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 66_000_000})())
    what = entry(Source(url=f"{site.url}/a.pth"))
    with pytest.raises(UserError, match=r"0\.00 GB to come, 0\.07 GB free"):
        bring(shelf(tmp_path, what), what)
    assert site.asked("/a.pth") == []


def test_a_disk_that_fills_up_leaves_a_part_to_go_on_with(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = entry(Source(url=f"{site.url}/a.pth"))
    where = shelf(tmp_path, what)
    with monkeypatch.context() as patch:
        patch.setattr(transfer, "open", full_after(1_000_000), raising=False)
        with pytest.raises(UserError, match="No space left") as caught:
            bring(where, what)
    assert "it goes on where it stopped" in caught.value.remedy
    assert left(where) == ["net/.a.pth.part", "net/.a.pth.part.json"]
    bring(where, what)
    assert where.path(what).read_bytes() == DATA
    first, second = site.asked("/a.pth")
    assert first == ""
    assert int(second.removeprefix("bytes=")[:-1]) > 0


def full_after(limit: int) -> Any:
    class Disk(io.FileIO):
        def write(self, data: Any) -> int:
            if self.tell() + len(data) > limit:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data) or 0

    return lambda path, mode: Disk(str(path), mode)


def test_offline_nothing_is_asked_for(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    what = entry(Source(url=f"{site.url}/a.pth"), Source(hub="a/b", file="c"))
    where = shelf(tmp_path, what)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in ("MUTOSCOPE_OFFLINE", "HF_HUB_OFFLINE"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "1")
            with pytest.raises(UserError, match=rf"a\.pth is missing, and {name} is set"):
                bring(where, what)
    assert site.log == []


# ---- several processes -------------------------------------------------------------------------------------------

DRIVER = """
import sys, json
from pathlib import Path
from harness import downloads
from harness.weights import Shelf, Table, Entry
table = Table.model_validate(json.loads(sys.argv[2]))
shelf = Shelf(table, Path(sys.argv[1]))
for entry in table.files:
    print(downloads.fetch(shelf, entry, lambda done, total: None, print), flush=True)
"""


def start(where: Shelf, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(where.folder), where.table.model_dump_json(by_alias=True)],
        cwd=ROOT, env=os.environ | variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_killed_fetch_is_gone_on_with(tmp_path: Path, site: Site) -> None:
    what = entry(Source(url=f"{site.url}/a.pth"))
    where = shelf(tmp_path, what)
    site.pause = 0.02
    process = start(where)
    part = where.folder / "net" / ".a.pth.part"
    while not (part.exists() and part.stat().st_size > 200_000):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    held = part.stat().st_size
    assert 0 < held < len(DATA)
    assert not where.path(what).exists()
    site.pause = 0.0
    bring(where, what)
    assert where.path(what).read_bytes() == DATA
    assert site.asked("/a.pth") == ["", f"bytes={held}-"]


def test_two_processes_fetch_a_file_once(tmp_path: Path, site: Site) -> None:
    what = entry(Source(url=f"{site.url}/a.pth"))
    where = shelf(tmp_path, what)
    site.pause = 0.02
    processes = [start(where), start(where)]
    output = sorted(process.communicate(timeout=30)[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert site.asked("/a.pth") == [""]
    assert output[0] == f"{site.url}/a.pth\n" or f"{site.url}/a.pth\n" in output
    assert where.path(what).read_bytes() == DATA


# ---- the hub -----------------------------------------------------------------------------------------------------


def hub(site: Site, tag: str) -> Entry:
    """A hub that sends to a store on another address, as the real one does."""
    store = site.url.replace("127.0.0.1", "localhost")
    site.files["/store/a"] = DATA
    site.headers["/own/er/resolve/abc/sub/a.pth"] = {
        "Location": f"{store}/store/a", "ETag": '"git"', "X-Linked-Etag": f'"{tag}"',
        "X-Linked-Size": str(len(DATA)), "X-Repo-Commit": "abc",
    }  # fmt: skip
    return entry(Source(hub="own/er", file="sub/a.pth", revision="abc"), sha256=None, size=None)


def test_a_hub_file_is_held_to_the_digest_that_the_hub_states(tmp_path: Path, site: Site) -> None:
    what = hub(site, SHA)
    where = shelf(tmp_path, what)
    site.drop["/store/a"] = [1_000_000]
    process = start(where, HF_ENDPOINT=site.url, HF_TOKEN="hf_secret")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out == "own/er/sub/a.pth at abc\n"
    assert where.path(what).read_bytes() == DATA
    assert where.held(what) == Held(SHA, "hub")
    assert site.asked("/store/a") == ["", "bytes=1000000-"]
    assert site.tokens["/own/er/resolve/abc/sub/a.pth"] == "Bearer hf_secret"
    assert site.tokens["/store/a"] is None
    where.path(what).write_bytes(OTHER)
    with pytest.raises(UserError, match=r"expected [0-9a-f]{64} \(hub\)"):
        where.check(what)


def test_a_hub_that_has_another_file_now_is_refused_before_its_bytes_come(tmp_path: Path, site: Site) -> None:
    other = hashlib.sha256(OTHER).hexdigest()
    what = hub(site, other).model_copy(update={"sha256": SHA, "size": len(DATA)})
    where = shelf(tmp_path, what)
    process = start(where, HF_ENDPOINT=site.url)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"it has another file now: sha256 {other}, expected {SHA}" in out
    assert site.asked("/store/a") == []


def test_a_small_file_comes_from_the_hub_itself_with_the_token(tmp_path: Path, site: Site) -> None:
    address = "/datasets/own/er/resolve/main/vocab.txt"
    site.files[address], site.etags[address], site.headers[address] = DATA, '"git"', {"X-Repo-Commit": "abc"}
    what = entry(Source(hub="datasets/own/er", file="vocab.txt"), sha256=None, size=None)
    where = shelf(tmp_path, what)
    process = start(where, HF_ENDPOINT=site.url, HF_TOKEN="hf_secret")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert site.tokens[address] == "Bearer hf_secret"
    assert where.path(what).read_bytes() == DATA
    assert where.held(what) == Held(SHA, "first fetch")


def test_a_file_nobody_stated_a_digest_of_is_held_to_its_first_fetch(tmp_path: Path, site: Site) -> None:
    what = entry(Source(url=f"{site.url}/a.pth"), sha256=None, size=None)
    where = shelf(tmp_path, what)
    bring(where, what)
    assert where.held(what) == Held(SHA, "first fetch")
    where.path(what).unlink()
    site.files["/a.pth"] = OTHER
    with pytest.raises(downloads.SourceError):
        bring(where, what)


# ---- files one has already ---------------------------------------------------------------------------------------


def test_a_file_is_adopted_by_a_link_wherever_it_lies(tmp_path: Path) -> None:
    what = entry(Source(url="http://x/a"))
    where = shelf(tmp_path, what)
    mine = tmp_path / "mine"
    for name, data in (("old", OTHER), ("torch/hub", DATA)):
        (mine / name).mkdir(parents=True)
        (mine / name / "a.pth").write_bytes(data)
    said: list[str] = []
    assert downloads.adopt(where, what, downloads.find_files(mine), said.append) == mine / "torch" / "hub" / "a.pth"
    assert where.check(what).samefile(mine / "torch" / "hub" / "a.pth")
    assert hashlib.sha256(OTHER).hexdigest() in said[0]
    assert (mine / "old" / "a.pth").read_bytes() == OTHER


def test_a_file_is_copied_where_it_cannot_be_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(downloads.os, "link", refuse)
    what = entry(Source(url="http://x/a"))
    where = shelf(tmp_path, what)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.pth").write_bytes(DATA)
    assert downloads.adopt(where, what, downloads.find_files(tmp_path / "mine"), print)
    assert where.check(what).read_bytes() == DATA
    assert not where.path(what).samefile(tmp_path / "mine" / "a.pth")
    assert left(where) == ["net/a.pth"]


# ---- digests -----------------------------------------------------------------------------------------------------


def test_a_large_file_is_read_once_and_again_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "REMEMBERED", 1000)
    monkeypatch.setattr(cache, "SETTLED", -1.0)  # as if it had been written long ago
    read: list[Path] = []
    monkeypatch.setattr(
        cache, "file_digest", lambda path: read.append(path) or hashlib.sha256(path.read_bytes()).hexdigest()
    )
    path = tmp_path / "a.pth"
    path.write_bytes(DATA)
    assert cache.known_sha256(path) is None
    assert cache.file_sha256(path) == SHA
    monkeypatch.setattr(cache, "_seen", {})  # another process
    assert cache.file_sha256(path) == SHA == cache.known_sha256(path)
    assert len(read) == 1
    times = path.stat()
    path.write_bytes(OTHER)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # same size, same time
    assert cache.known_sha256(path) is None
    assert cache.file_sha256(path) == hashlib.sha256(OTHER).hexdigest()
    assert len(read) == 2


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(DATA)
    assert cache.file_sha256(path) == SHA
    assert cache.known_sha256(path) is None


def test_a_damaged_memo_costs_a_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "REMEMBERED", 1000)
    monkeypatch.setattr(cache, "SETTLED", -1.0)
    (tmp_path / "cache").mkdir()
    for rubbish in ("{", "[]", '{"x": 3}'):
        (tmp_path / "cache" / "digests.json").write_text(rubbish)
        monkeypatch.setattr(cache, "_seen", {})
        (tmp_path / "a.pth").write_bytes(DATA)
        assert cache.file_sha256(tmp_path / "a.pth") == SHA


# ---- commands ----------------------------------------------------------------------------------------------------


@pytest.fixture
def toys(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Table:
    site.files["/b.pth"] = OTHER
    other = hashlib.sha256(OTHER).hexdigest()
    b = entry(Source(url=f"{site.url}/b.pth"), file="net/b.pth", sha256=other)
    files = (entry(Source(url=f"{site.url}/a.pth")), b.model_copy(update={"purposes": ("size",)}))
    table = Table(group="toy", about="toys", files=files)
    monkeypatch.setattr(commands, "tables", lambda: {"toy": table})
    return table


def test_fetch_brings_what_is_asked_for_and_verify_reads_it_again(
    tmp_path: Path, site: Site, toys: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.fetch("toy", ["speed"], tmp_path / "w", None) == 0
    assert site.asked("/a.pth") == [""]
    assert site.asked("/b.pth") == []
    assert commands.fetch("toy", (), tmp_path / "w", None, support=True) == 0  # there is no such file
    assert site.asked("/b.pth") == []
    assert commands.verify("toy", (), tmp_path / "w") == 0  # b was not asked for
    assert commands.verify("toy", ["size"], tmp_path / "w") == 1
    capsys.readouterr()
    (tmp_path / "w" / "net" / "a.pth").write_bytes(OTHER)
    assert commands.verify("toy", (), tmp_path / "w") == 1
    found = hashlib.sha256(OTHER).hexdigest()
    assert f"net/a.pth  sha256 {found}, expected {SHA} (published)\n" in capsys.readouterr().out
    assert commands.fetch("toy", (), tmp_path / "w", None) == 0
    assert commands.verify("toy", (), tmp_path / "w") == 0
    assert "net/b.pth  right, held to published sha256\n" in capsys.readouterr().out


def test_a_file_no_source_serves_does_not_keep_the_others(
    tmp_path: Path, site: Site, toys: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    del site.files["/a.pth"]
    assert commands.fetch("toy", (), tmp_path / "w", None) == 1
    out = capsys.readouterr().out
    assert f"{site.url}/a.pth: 404 Not Found" in out
    assert "not fetched: net/a.pth" in out
    assert (tmp_path / "w" / "net" / "b.pth").read_bytes() == OTHER


def test_offline_names_what_is_missing_after_adopting_what_is_there(
    tmp_path: Path, site: Site, toys: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUTOSCOPE_OFFLINE", "1")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.pth").write_bytes(DATA)
    with pytest.raises(UserError, match=r"missing or wrong: net/b\.pth; and MUTOSCOPE_OFFLINE is set"):
        commands.fetch("toy", (), tmp_path / "w", tmp_path / "mine")
    assert commands.fetch("toy", ["speed"], tmp_path / "w", None) == 0
    assert site.log == []


@pytest.mark.parametrize(("group", "purpose", "remedy"), [("toi", "speed", '"toy"'), ("toy", "sped", '"speed"')])
def test_a_mistyped_name_is_answered_with_the_nearest(toys: Table, group: str, purpose: str, remedy: str) -> None:
    with pytest.raises(UserError) as caught:
        commands.fetch(group, [purpose], None, None)
    assert caught.value.remedy == f"did you mean {remedy}?"


def test_list_shows_every_file(toys: Table, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.show(None) == 0
    out = capsys.readouterr().out
    for word in ("net/a.pth", "net/b.pth", "3 MB", "MIT", "speed", "missing"):
        assert word in out


def test_random_weights_never_take_the_place_of_others(
    tmp_path: Path, toys: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_all(folder: Path, purposes: Any, seed: int) -> None:
        (folder / "net").mkdir(parents=True)
        (folder / "net" / "a.pth").write_text(f"{sorted(purposes)} {seed}")

    monkeypatch.setitem(sys.modules, "toy_seeded", type("Module", (), {"write_all": staticmethod(write_all)}))
    seeded = toys.model_copy(update={"seeded": "toy_seeded"})
    monkeypatch.setattr(commands, "tables", lambda: {"toy": seeded})
    assert commands.seed("toy", (), tmp_path / "w", 7) == 0
    assert (tmp_path / "w" / "net" / "a.pth").read_text() == "['size', 'speed'] 7"
    with pytest.raises(UserError, match=r"a\.pth is there already"):
        commands.seed("toy", (), tmp_path / "w", 8)
