"""`board`, `publish` and `serve`: from run directories to what people look at."""

from __future__ import annotations

import inspect
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from harness import registry
from harness.errors import UserError, did_you_mean
from harness.store import read_json, suite_dirs, write_text

DEFAULT_SERVER = "http://127.0.0.1:5000"


def find_suite(name: str | None, runs: Path) -> Path:
    """The newest suite folder of that name (or `name@digest`), or the newest of all."""
    found = suite_dirs(runs)
    if not found:
        raise UserError(f"{runs}: no results yet", "make some with: mutoscope run quick")
    for folder in found:
        if name is None or folder.name == name or folder.name.split("@")[0] == name:
            return folder
    raise UserError(f'{runs} has no suite called "{name}"', did_you_mean(name or "", (f.name for f in found)))


def show_suite(folder: Path, console: Console, parts: bool = False) -> None:
    """The leaderboard table."""
    from leaderboards import rank, show

    show.render(rank.table(folder), console, parts)


def show_board(suite: str | None, runs: Path, markdown: bool, parts: bool, picture: Path | None) -> None:
    from leaderboards import rank, show

    folder = find_suite(suite, runs)
    if picture is not None:
        from leaderboards.poster import poster

        poster(rank.table(folder)).save(picture)
    if markdown:
        print(show.markdown(rank.table(folder)))
    else:
        show_suite(folder, Console(), parts)


def export_suite(suite: str | None, runs: Path, site: Path | None, files: Mapping[str, Path | None]) -> None:
    """Files to send; `files`: csv, markdown and latex."""
    from leaderboards import rank, show

    if site is None and not any(files.values()):
        raise UserError("nothing to export", "say what: --site DIR, --csv FILE, --markdown FILE or --latex FILE")
    board = rank.table(find_suite(suite, runs))
    makers = {"csv": lambda: rank.frame(board).to_csv(index=False), "markdown": lambda: show.markdown(board)}
    makers["latex"] = lambda: show.latex(board)
    written = []
    for kind, path in files.items():
        if path is not None:
            write_text(path, makers[kind]())
            written.append(path)
    if site is not None:
        from leaderboards.site import write_site

        written.append(write_site(board, site, _explanations(column.name for column in board.columns)))
    for path in written:
        Console().print(f"wrote {path}", highlight=False, soft_wrap=True)


def _explanations(names: Iterable[str]) -> dict[str, str]:
    """What metrics say of themselves; those of plugins that are not here have nothing to say."""
    found = {}
    for name in names:
        with suppress(UserError):
            found[name] = inspect.cleandoc(registry.metrics.get(name).__doc__ or "")
    return found


def compare_rows(rows: Sequence[str], suite: str | None, runs: Path, out: Path | None, inline: bool, top: int) -> None:
    """Differences on the terminal; the page and two tables in a folder."""
    from leaderboards import compare, compare_page, rank, show

    folder = find_suite(suite, runs)
    found = compare.compare(rank.table(folder), rows)
    console = Console()
    show.render_comparison(found, console, top)
    out = out or folder / "compare" / "-vs-".join(row.replace("/", "-") for row in rows)
    page = compare_page.write_page(found, out, inline)
    compare.write_csv(found, out)
    console.print(f"side by side  {page}", highlight=False, soft_wrap=True)


def publish_suite(folder: Path, tracking_uri: str | None, console: Console) -> None:
    """To MLflow, saying where; unchanged results cost nothing."""
    from leaderboards.about import elsewhere
    from leaderboards.publish import publish

    published = publish(folder, tracking_uri, explain=_explanations)
    place = published.tracking_uri
    told = [f"mlflow  {place}, experiment {published.experiment_id}"]
    if place.startswith(("http://", "https://")):
        told.append(f"browse  {published.links(place)['leaderboard']}")
    else:
        start = f"mutoscope serve --runs {folder.parent}" if tracking_uri is None else "mlflow server on this store"
        told.append(f"browse  {start}, then {published.links(DEFAULT_SERVER)['leaderboard']}")
    told += [f"note    {elsewhere(published.others)}"] if published.others else []
    for line in told:
        console.print(line, highlight=False, soft_wrap=True)


def publish_suites(suite: str | None, runs: Path, tracking_uri: str | None) -> None:
    folders = [find_suite(suite, runs)] if suite else suite_dirs(runs)
    if not folders:
        raise UserError(f"{runs}: no results yet", "make some with: mutoscope run quick")
    for folder in folders:
        publish_suite(folder, tracking_uri, Console())


def serve_runs(runs: Path, host: str, port: int | None) -> None:
    """Serve until interrupted or ended; links are printed once the server answers."""
    from leaderboards import views

    find_suite(None, runs)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the server would outlive this process
    port = views.free_port(host, port or 5000)
    server = views.serve(runs, host, port)
    base = f"http://{host}:{port}"
    try:
        _wait_until_up(server, base)
        console = Console()
        for folder in suite_dirs(runs):
            marker = folder / "published.json"
            if marker.exists():
                link = views.links(base, read_json(marker)["experiment_id"])["leaderboard"]
                console.print(f"{folder.name}  {link}", highlight=False, soft_wrap=True)
        console.print("Ctrl-C stops the server", highlight=False)
        server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()
        server.wait()


def _wait_until_up(server: subprocess.Popen[bytes], base: str, patience: float = 300.0) -> None:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if server.poll() is not None:
            raise UserError(f"the MLflow server ended with code {server.returncode}", "its own message is above")
        try:
            with urllib.request.urlopen(f"{base}/health", timeout=2):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
    raise UserError(f"the MLflow server did not answer at {base} within {patience:.0f} s", "try another --port")
