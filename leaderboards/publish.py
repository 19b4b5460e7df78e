"""Run directories to MLflow. The only module that imports mlflow, and only inside functions: the import costs seconds.

A published run is written once and its `content` tag last; a run without it is what a killed publisher left, and goes.
Changed rows and seeds are replaced, unchanged ones left alone, ranks updated in place, because they depend on the
other rows. Everything can be rebuilt from the run directories at any time. Several folders may publish to one
experiment, say those of several machines to one server: each removes only what it wrote itself.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.store import lock
from leaderboards import artifacts, payload, views
from leaderboards.about import about, plain
from leaderboards.address import is_database, sqlite_file, turn, without_login
from leaderboards.marker import origin, recall, remember, wanted
from leaderboards.marks import marks
from leaderboards.rank import Leaderboard, table
from leaderboards.read import Entry
from leaderboards.refusals import expect_answer, explained

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

Explain = Callable[[list[str]], Mapping[str, str]]

COMPARED = 20  # rows in the link that compares rows
BATCH = 1000  # metrics per log_batch; params and tags: 100


@dataclass(frozen=True)
class Published:
    """Where a suite's results are."""

    tracking_uri: str  # without login
    experiment_id: str
    runs: Mapping[str, str]  # row label -> parent run id
    written: int
    skipped: int
    others: int = 0  # rows of the same experiment that another folder published

    def links(self, base_url: str) -> dict[str, str]:
        """Deep links into the UI at `base_url`."""
        return views.links(base_url, self.experiment_id, list(self.runs.values()))


def default_uri(suite_dir: Path) -> str:
    """The SQLite store beside the suites."""
    return f"sqlite:///{suite_dir.resolve().parent / 'mlflow.db'}"


def publish(
    suite_dir: Path,
    tracking_uri: str | None = None,
    force: bool = False,
    explain: Explain = lambda names: {},
) -> Published:
    """Bring an experiment up to date with a suite folder. Safe to repeat, to interrupt, and to run in parallel.

    Args:
        tracking_uri: any MLflow tracking URI; default `sqlite:///<runs>/mlflow.db`, artifacts in `<runs>/mlartifacts`.
        force: look at the store even if the marker file says that nothing changed.
        explain: metric names -> what they say of themselves, for the experiment's page.
    """
    uri = tracking_uri or default_uri(suite_dir)
    with lock(suite_dir / ".publish.lock"):
        state = wanted(suite_dir, uri)
        known = None if force else recall(suite_dir, state)
        if known:
            return Published(
                without_login(uri), known["experiment_id"], known["runs"], 0, known["count"], known["others"]
            )
        board = table(suite_dir)
        with explained(uri):
            client = connect(uri)
            experiment = _experiment(client, board, uri)
            done = _Publisher(client, experiment, board, explain).run(uri)
        remember(suite_dir, state, done)
        return done


# ---- the store --------------------------------------------------------------------------------------------------


def connect(uri: str) -> MlflowClient:
    """A client on an initialised store."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    from mlflow.tracking import MlflowClient

    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    expect_answer(uri)
    with turn(uri):
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client


def _experiment(client: MlflowClient, board: Leaderboard, uri: str) -> str:
    """Get or create by name. Behind a server a publisher elsewhere may win the race, so look twice."""
    from mlflow.exceptions import MlflowException

    name, file = f"mutoscope/{board.name}", sqlite_file(uri)
    beside = file.resolve().parent if file else board.folder.resolve().parent
    place = (beside / "mlartifacts" / board.name).as_uri() if is_database(uri) else None
    with turn(uri):
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
    if file and found.artifact_location != place:
        raise UserError(
            f"{file}: was written for artifacts in {found.artifact_location}, not {place}",
            "the folder was moved: delete mlflow.db and mlartifacts, then publish again; nothing is lost",
        )
    return str(found.experiment_id)


def at_once(write: Callable[[], None]) -> None:
    """Write what another publisher may be writing too: a store refuses one of the two, and asked again, knows it.

    Raises:
        MlflowException: of another kind, or still after five times.
    """
    from mlflow.exceptions import MlflowException

    for patience in range(5, -1, -1):
        try:
            return write()
        except MlflowException as error:
            if not patience or "unique" not in str(error).lower():
                raise


# ---- writing ----------------------------------------------------------------------------------------------------


class _Publisher:
    """One suite into one experiment."""

    def __init__(self, client: MlflowClient, experiment: str, board: Leaderboard, explain: Explain) -> None:
        self.client, self.experiment, self.board, self.explain = client, experiment, board, explain
        self.origin = origin(board.folder)
        self.found = self._published()
        self.keep: set[str] = set()
        self.written = self.skipped = 0

    def run(self, uri: str) -> Published:
        parents, colours = {}, marks([entry.label for entry in self.board.entries])
        for entry in self.board.entries:
            children = [(run, payload.child(self.board, entry, run)) for run in entry.runs]
            whole = payload.parent(self.board, entry, [told for _, told in children])
            colour = {"mlflow.runColor": colours[entry.label].shade}
            parent = self._put(
                whole, colour, partial(self._files, partial(artifacts.put_row, board=self.board, entry=entry))
            )
            for run, told in children:
                link = {"mlflow.parentRunId": parent} | colour
                self._put(told, link, partial(self._files, partial(artifacts.put_seed, run=run)))
            self._stand(parent, entry)
            parents[entry.label] = parent
        for reference in self.board.references:
            self._put(payload.published(self.board, reference), {})
        others = self._clear()
        self._describe(parents, others)
        return Published(without_login(uri), self.experiment, parents, self.written, self.skipped, others)

    def _clear(self) -> int:
        """Remove what this folder wrote and no longer says; how many rows others have.

        Looks again, because a request that was repeated after a lost answer may have made a run twice.
        """
        others = 0
        for run in [run for runs in self._published().values() for run in runs if run.info.run_id not in self.keep]:
            if run.data.tags.get("origin", self.origin) == self.origin:
                self.client.delete_run(run.info.run_id)
            else:
                others += run.data.tags.get("level") == "method"
        return others

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

    def _put(self, told: payload.Payload, tags: dict[str, str], files: Callable[[str], None] | None = None) -> str:
        """The id of the run that says `told`: the one that does already, else a new one."""
        for run in self.found.get(told.key, ()):
            if run.data.tags.get("content") == told.content:
                run_id = str(run.info.run_id)
                for key, value in tags.items():
                    if run.data.tags.get(key) != value:
                        self.client.set_tag(run_id, key, value)
                self.keep.add(run_id)
                self.skipped += 1
                return run_id
        identity = {"run_key": told.key, "origin": self.origin}
        run = self.client.create_run(self.experiment, told.start_ms, {**told.tags, **tags, **identity}, told.name)
        run_id = str(run.info.run_id)
        self._log(run_id, told)
        self._protocol(run_id)
        if files:
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
        for first in range(100, len(params), 100):
            self.client.log_batch(run_id, params=params[first : first + 100])
        self.client.log_batch(run_id, metrics=metrics[: BATCH - 100], params=params[:100])  # 1000 of both together
        for first in range(BATCH - 100, len(metrics), BATCH):
            self.client.log_batch(run_id, metrics=metrics[first : first + BATCH])

    def _protocol(self, run_id: str) -> None:
        """The suite as the run's evaluation data set, which the UI can filter by."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        suite = self.board.suite
        source = json.dumps({"suite": suite["name"], "prompts": suite["prompts"]})
        data = Dataset(suite["name"], suite["digest"][:36], "code", source, profile=json.dumps(suite["clip"]))
        inputs = [DatasetInput(data, [InputTag("mlflow.data.context", "eval")])]
        at_once(lambda: self.client.log_inputs(run_id, inputs))

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

    def _files(self, put: Callable[[MlflowClient, str], Mapping[str, str]], run_id: str) -> None:
        """Artifacts, with links to those worth opening as the run's description."""
        links = "\n\n".join(
            f"[{plain(text)}]({views.artifact('', self.experiment, run_id, name)})"
            for text, name in put(self.client, run_id).items()
        )
        self.client.set_tag(run_id, "mlflow.note.content", links)

    def _describe(self, parents: Mapping[str, str], others: int) -> None:
        """The experiment's own page: protocol, table, links; and its saved views."""
        import mlflow

        board, suite = self.board, self.board.suite
        experiment = self.client.get_experiment(self.experiment)
        columns = payload.view_columns(board, fitted=not others)
        links = views.links("", self.experiment, [] if others else list(parents.values())[:COMPARED])
        told = self.explain([column.name for column in board.columns])
        tags = {
            "mlflow.note.content": about(board, links, told, others),
            "mlflow.experimentKind": "custom_model_development",
            "suite": suite["name"],
            "suite.digest": suite["digest"],
            **{f"higher_is_better.{c.metric}": str(c.higher_is_better).lower() for c in columns},
            **views.saved_views(columns, mlflow.__version__, experiment.creation_time or 0, len(suite["seeds"]) > 1),
        }
        for key, value in tags.items():
            if experiment.tags.get(key) != value:
                at_once(partial(self.client.set_experiment_tag, self.experiment, key, value))
