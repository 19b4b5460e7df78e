"""The study file: what was answered is there, whoever writes and whatever is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UserError
from leaderboards.arena.store import AnsweredBeforeError, Judgement, StudyFile, clean_name, create, open_study
from leaderboards.arena.study import trials
from tests.leaderboards.studies import study


def judgement(rater: int, place: int = 0, question: str = "overall", choice: str = "first") -> Judgement:
    trial = trials(study(), rater)[place]
    c = trial.comparison
    return Judgement(
        rater, c.key, question, c.item.clip, c.item.seed, c.first, c.second, trial.first_left, choice, 2, 3.5
    )


@pytest.fixture
def file(tmp_path: Path) -> StudyFile:
    return create(tmp_path / "arena" / "study.sqlite", study())


def test_an_answer_is_there_for_every_other_reader_at_once(file: StudyFile) -> None:
    ada = file.rater("Ada")
    file.record(judgement(ada))
    with sqlite3.connect(file.path) as other:
        assert other.execute("SELECT rater, question, choice, plays, seconds FROM judgements").fetchall() == [
            (0, "overall", "first", 2, 3.5)
        ]
        assert other.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    kept = open_study(file.path).judgements()
    assert [replace(j, time="") for j in kept] == [judgement(ada)]
    assert kept[0].time.endswith("+00:00")


def test_the_same_answer_again_is_no_event_another_one_must_be_meant(file: StudyFile) -> None:
    ada = file.rater("Ada")
    file.record(judgement(ada))
    first = file.judgements()
    file.record(replace(judgement(ada), seconds=99.0))
    assert file.judgements() == first
    with pytest.raises(AnsweredBeforeError):
        file.record(judgement(ada, choice="tie"))
    assert (file.judgements(), file.changed()) == (first, 0)
    file.record(judgement(ada, choice="tie"), change=True)
    assert [j.choice for j in file.judgements()] == ["tie"]
    assert file.changed() == 1
    with sqlite3.connect(file.path) as other:
        assert other.execute("SELECT choice FROM changes").fetchall() == [("first",)]


def test_raters_have_numbers_in_their_order_and_keep_them(file: StudyFile) -> None:
    assert [file.rater(name) for name in ("Ada", "Ben", "ada", "Ben", "Cy")] == [0, 1, 0, 1, 2]
    assert file.raters() == {0: "Ada", 1: "Ben", 2: "Cy"}
    assert file.answers(1) == {}


def test_many_writers_lose_nothing(file: StudyFile) -> None:
    """Two open files, four threads each, all answering at once."""
    files = [file, open_study(file.path)]

    def work(number: int) -> None:
        own = files[number % 2]
        rater = own.rater(f"rater {number}")
        for place in range(5):
            own.record(judgement(rater, place))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    kept = file.judgements()
    assert len({(j.rater, j.trial) for j in kept}) == len(kept) == 40
    assert sorted(file.raters()) == list(range(8))


def test_beginning_the_same_study_at_once_gives_one(tmp_path: Path) -> None:
    path = tmp_path / "arena" / "study.sqlite"
    with ThreadPoolExecutor(6) as pool:
        files = list(pool.map(lambda _: create(path, study()), range(6)))
    assert len({file.secret for file in files}) == 1


def test_what_a_killed_writer_had_recorded_is_there(tmp_path: Path) -> None:
    """It writes as fast as it can and says what it has; then it is killed."""
    path = tmp_path / "arena" / "study.sqlite"
    create(path, study()).close()
    code = (
        "import sys\nfrom pathlib import Path\nfrom itertools import count\n"
        "from leaderboards.arena.store import open_study\nfrom tests.leaderboards.test_arena_store import judgement\n"
        "file = open_study(Path(sys.argv[1]))\n"
        "for n in count():\n"
        "    rater = file.rater(f'r{n // 10}')\n"
        "    file.record(judgement(rater, n % 10))\n"
        "    print(rater, n % 10, flush=True)\n"
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(25)]
    process.send_signal(signal.SIGKILL)
    said += process.stdout.readlines()
    process.wait()
    wanted = {
        (int(r), judgement(int(r), int(n)).trial) for r, n in (line.split() for line in said if line.endswith("\n"))
    }
    kept = {(j.rater, j.trial) for j in open_study(path).judgements()}
    assert len(wanted) >= 25
    assert wanted <= kept
    assert len(kept - wanted) <= 1  # recorded, and killed before saying so


def test_what_is_not_this_study_is_refused(file: StudyFile, tmp_path: Path) -> None:
    assert create(file.path, study()).study == study()
    with pytest.raises(UserError, match="holds another study"):
        create(file.path, study(seed=1))
    with pytest.raises(UserError, match="of another suite"):
        open_study(file.path, "another digest")
    with pytest.raises(UserError, match="no study yet"):
        open_study(tmp_path / "none.sqlite")
    for name, content in (("text.sqlite", b"not a database at all, but long enough " * 99), ("empty.sqlite", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError):
            open_study(tmp_path / name)
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE things (name TEXT)")
    for act in (open_study, lambda path: create(path, study())):
        with pytest.raises(UserError, match="not a study file"):
            act(tmp_path / "other.sqlite")


def test_nothing_is_written_to_a_file_that_has_gone(file: StudyFile) -> None:
    ada = file.rater("Ada")
    file.path.rename(file.path.with_name("moved.sqlite"))
    with pytest.raises(UserError, match="was moved, deleted or replaced"):
        file.record(judgement(ada))
    create(file.path, study()).close()
    with pytest.raises(UserError, match="was moved, deleted or replaced"):
        file.record(judgement(ada))


def test_a_file_that_may_only_be_read_can_be_read(file: StudyFile) -> None:
    file.record(judgement(file.rater("Ada")))
    file.close()
    file.path.chmod(0o444)
    assert len(open_study(file.path).judgements()) == 1


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\x00b", "a\u202eb"])
def test_bad_names(name: str) -> None:
    with pytest.raises(UserError, match="1 to 60 printable"):
        clean_name(name)


def test_names_have_one_form() -> None:
    assert clean_name("  Ada \n Lovelace ") == "Ada Lovelace"
    assert clean_name("Zoe\u0308") == "Zoë"
