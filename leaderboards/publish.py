"""Run directories to MLflow. The only module that imports mlflow, and only inside functions: the import costs seconds.

A published run is written once and its `content` tag last; a run without it is what a killed publisher left, and goes.
Changed rows and seeds are replaced, unchanged ones left alone, ranks updated in place, because they depend on the
other rows. Everything can be rebuilt from the run directories at any time.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.store import RunDir, lock
from leaderboards import payload, pictures, views
from leaderboards.export import gallery
from leaderboards.marker import recall, remember, sqlite_file, wanted
from leaderboards.rank import Leaderboard, table
from leaderboards.read import Entry

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

BATCH = 1000  # metrics per log_batch; params and tags: 100


@dataclass(frozen=True)
class Published:
    """Where a suite's results are."""

    tracking_uri: str
    experiment_id: str
    runs: Mapping[str, str]  # row label -> parent run id
    written: int
    skipped: int

    def links(self, base_url: str) -> dict[str, str]:
        """Deep links into the UI at `base_url`."""
        return views.links(base_url, self.experiment_id, list(self.runs.values()))


def default_uri(suite_dir: Path) -> str:
    """The SQLite store beside the suites."""
    return f"sqlite:///{suite_dir.resolve().parent / 'mlflow.db'}"


def publish(suite_dir: Path, tracking_uri: str | None = None, force: bool = False) -> Published:
    """Bring an experiment up to date with a suite folder. Safe to repeat, to interrupt, and to run in parallel.

    Args:
        tracking_uri: any MLflow tracking URI; default `sqlite:///<runs>/mlflow.db`, artifacts in `<runs>/mlartifacts`.
        force: look at the store even if the marker file says that nothing changed.
    """
    uri = tracking_uri or default_uri(suite_dir)
    with lock(suite_dir / ".publish.lock"):
        state = wanted(suite_dir, uri)
        known = None if force else recall(suite_dir, state)
        if known:
            return Published(uri, known["experiment_id"], known["runs"], 0, known["count"])
        board = table(suite_dir)
        with _mlflow_errors(uri):
            client = connect(uri)
            experiment = _experiment(client, board, uri)
            runs, written, skipped = _Publisher(client, experiment, board).run()
        remember(suite_dir, state, experiment, runs, written + skipped)
        return Published(uri, experiment, runs, written, skipped)


# ---- the store --------------------------------------------------------------------------------------------------


def connect(uri: str) -> MlflowClient:
    """A client on an initialised store. Creating the tables of a new SQLite file is safe only one at a time."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    from mlflow.tracking import MlflowClient

    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with _store_lock(uri):
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client


def _store_lock(uri: str) -> Any:
    file = sqlite_file(uri)
    return lock(file.with_name(f".{file.name}.lock")) if file else nullcontext()


@contextmanager
def _mlflow_errors(uri: str) -> Iterator[None]:
    """What MLflow and its store refuse, as a message; the results themselves are safe in the run directories."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if type(error).__module__.split(".")[0] not in {"mlflow", "sqlalchemy", "requests", "urllib3"}:
            raise
        told = str(error).strip().split("\n")[0][:300]
        raise UserError(
            f"{uri}: cannot publish: {told}", "check the address or the server, then run publish again"
        ) from error


def _experiment(client: MlflowClient, board: Leaderboard, uri: str) -> str:
    """Get or create by name, under the store's lock; a publisher elsewhere may still win the race, so look twice."""
    from mlflow.exceptions import MlflowException

    name, file = f"mutoscope/{board.name}", sqlite_file(uri)
    place = (file.resolve().parent / "mlartifacts" / board.name).as_uri() if file else None
    with _store_lock(uri):
        found = client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(client.create_experiment(name, artifact_location=place))
            except MlflowException:
                found = client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            client.restore_experiment(found.experiment_id)
    if place and found.artifact_location != place:
        raise UserError(
            f"{file}: was written for artifacts in {found.artifact_location}, not {place}",
            "the folder was moved: delete mlflow.db and mlartifacts, then publish again; nothing is lost",
        )
    return str(found.experiment_id)


# ---- writing ----------------------------------------------------------------------------------------------------


class _Publisher:
    """One suite into one experiment."""

    def __init__(self, client: MlflowClient, experiment: str, board: Leaderboard) -> None:
        self.client, self.experiment, self.board = client, experiment, board
        self.found = self._published()
        self.keep: set[str] = set()
        self.written = self.skipped = 0

    def run(self) -> tuple[dict[str, str], int, int]:
        parents = {}
        for entry in self.board.entries:
            children = [(run, payload.child(self.board, entry, run)) for run in entry.runs]
            whole = payload.parent(self.board, entry, [told for _, told in children])
            parent = self._put(whole, {}, lambda run_id, entry=entry: self._parent_files(run_id, entry))
            for run, told in children:
                link = {"mlflow.parentRunId": parent}
                self._put(told, link, lambda run_id, run=run: self._child_files(run_id, run))
            self._stand(parent, entry)
            parents[entry.label] = parent
        for run_id in {run.info.run_id for runs in self.found.values() for run in runs} - self.keep:
            self.client.delete_run(run_id)
        self._describe(parents)
        return parents, self.written, self.skipped

    def _published(self) -> dict[str, list[Any]]:
        """Active runs of the experiment by run_key."""
        out: dict[str, list[Any]] = {}
        token = None
        while True:
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=token)
            for run in page:
                out.setdefault(run.data.tags.get("run_key", ""), []).append(run)
            token = page.token
            if not token:
                return out

    def _put(self, told: payload.Payload, link: dict[str, str], files: Any) -> str:
        """The id of the run that says `told`: the one that does already, else a new one."""
        for run in self.found.get(told.key, ()):
            if run.data.tags.get("content") == told.content:
                run_id = str(run.info.run_id)
                for key, value in link.items():
                    if run.data.tags.get(key) != value:
                        self.client.set_tag(run_id, key, value)
                self.keep.add(run_id)
                self.skipped += 1
                return run_id
        tags = dict(told.tags) | link | {"run_key": told.key}
        run = self.client.create_run(self.experiment, told.start_ms, tags, told.name)
        run_id = str(run.info.run_id)
        self._log(run_id, told)
        self._protocol(run_id)
        files(run_id)
        self.client.set_terminated(run_id, "FINISHED", told.end_ms)
        self.client.set_tag(run_id, "content", told.content)
        self.keep.add(run_id)
        self.written += 1
        return run_id

    def _log(self, run_id: str, told: payload.Payload) -> None:
        from mlflow.entities import Metric, Param

        metrics = [Metric(name, value, told.end_ms, step) for name, value, step in told.metrics]
        params = [Param(name, value) for name, value in told.params.items()]
        for first in range(0, len(params), 100):
            self.client.log_batch(run_id, params=params[first : first + 100])
        for first in range(0, len(metrics), BATCH):
            self.client.log_batch(run_id, metrics=metrics[first : first + BATCH])

    def _protocol(self, run_id: str) -> None:
        """The suite as the run's evaluation data set, which the UI can filter by."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        suite = self.board.suite
        source = json.dumps({"suite": suite["name"], "prompts": suite["prompts"]})
        data = Dataset(suite["name"], suite["digest"][:36], "code", source, profile=json.dumps(suite["clip"]))
        self.client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "eval")])])

    def _stand(self, run_id: str, entry: Entry) -> None:
        """Ranks, and scores as text: logged again only where they differ."""
        from mlflow.entities import Metric, RunTag

        now = self.client.get_run(run_id).data
        ranks, texts = payload.standing(self.board, entry)
        stamp = int(time.time() * 1000)
        metrics = [Metric(name, value, stamp, 0) for name, value in ranks.items() if now.metrics.get(name) != value]
        tags = [RunTag(name, text) for name, text in texts.items() if now.tags.get(name) != text]
        if metrics or tags:
            self.client.log_batch(run_id, metrics=metrics, tags=tags)

    # ---- artifacts ----

    def _child_files(self, run_id: str, run: RunDir) -> None:
        with tempfile.TemporaryDirectory() as staging:
            for name in payload.published_files(run):
                target = Path(staging) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(run.path / name, target)
            if page := pictures.page(run):
                (Path(staging) / payload.PICTURES / "index.html").write_text(page, encoding="utf-8")
            self.client.log_artifacts(run_id, staging)

    def _parent_files(self, run_id: str, entry: Entry) -> None:
        board = self.board
        runs = {run.path.name.replace("seed", "seed "): run for run in entry.used}
        page = gallery(f"{entry.label} on {board.name}", runs, board.columns)
        self.client.log_text(run_id, page, "gallery.html")
        self.client.log_dict(run_id, entry.runs[0].cell(), "cell.json")
        self.client.log_dict(run_id, board.suite, "suite.json")
        self.client.log_table(run_id, payload.per_prompt(board, entry), "per_prompt.json")
        for run in entry.used:
            pictures.log_filmstrips(self.client, run_id, run)
            pictures.log_figures(self.client, run_id, run)
        told = {f"All clips of {entry.label}, with their scores": "gallery.html"}
        if page := pictures.pages(f"Training of {entry.label} on {board.name}", runs):
            self.client.log_text(run_id, page, "diagnostics.html")
            told["Pictures of its training"] = "diagnostics.html"
        place = f"#/experiments/{self.experiment}/runs/{run_id}/artifacts"
        links = "\n\n".join(f"[{text}]({place}/{name})" for text, name in told.items())
        self.client.set_tag(run_id, "mlflow.note.content", links)

    def _describe(self, parents: Mapping[str, str]) -> None:
        """The experiment's own page: protocol, table, links; and its saved views."""
        import mlflow

        board, suite = self.board, self.board.suite
        names = payload.text_tags(board)
        columns = [views.Score(payload.clean(c.key), names[c.key], c.higher_is_better) for c in board.columns]
        tags = {
            "mlflow.note.content": payload.note(board, views.links("", self.experiment, list(parents.values()))),
            "mlflow.experimentKind": "custom_model_development",
            "suite": suite["name"],
            "suite.digest": suite["digest"],
            **{f"higher_is_better.{c.metric}": str(c.higher_is_better).lower() for c in columns},
            **views.saved_views(columns, mlflow.__version__, int((board.folder / "suite.json").stat().st_mtime * 1000)),
        }
        now = self.client.get_experiment(self.experiment).tags
        for key, value in tags.items():
            if now.get(key) != value:
                self.client.set_experiment_tag(self.experiment, key, value)
