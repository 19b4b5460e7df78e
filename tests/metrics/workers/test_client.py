"""The worker process seen from our side: what can go wrong is named, bounded, and does not spread."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metrics.workers import client
from metrics.workers.client import Program, Worker, WorkerError

TOOL = Path(__file__).with_name("tool.py")


@contextmanager
def worker(home: Path, **changes: Any) -> Iterator[Worker]:
    program = Program("toy", Path(sys.executable), TOOL, {}, home / "toy.log", timeout=20, start_timeout=20)
    found = Worker(replace(program, **changes))
    try:
        yield found
    finally:
        found.close()


def problem(worker: Worker, **request: Any) -> str:
    with pytest.raises(WorkerError) as caught:
        worker.ask(request)
    return caught.value.problem


def raw(folder: Path, body: str) -> Path:
    """A server in the place of `serve.py` that says what it is told to."""
    file = folder / "serve.py"
    file.write_text(f"import sys, json, time\nsay = lambda line: print(line, flush=True)\n{body}\n")
    return file


# ---- what goes well --------------------------------------------------------------------------------------------


def test_answers_one_after_the_other_from_one_process(tmp_path: Path) -> None:
    with worker(tmp_path) as toy:
        assert toy.ask({"do": "add", "a": 1, "b": 2}) == {"sum": 3}
        first = toy.ask({"do": "environment"})["variables"]
        assert toy.ask({"do": "add", "a": 0.1, "b": 0.2}) == {"sum": 0.1 + 0.2}  # to the last digit
        assert toy.versions["python"] == ".".join(map(str, sys.version_info[:3]))
        assert toy.ask({"do": "environment"})["variables"] == first


def test_its_world_is_the_one_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    with worker(tmp_path, threads=3, folder=tmp_path, variables={"TORCH_HOME": "here"}) as toy:
        world = toy.ask({"do": "environment"})
    assert world["variables"]["OMP_NUM_THREADS"] == world["variables"]["MKL_NUM_THREADS"] == "3"
    assert world["variables"]["TORCH_HOME"] == "here"
    assert "PYTHONPATH" not in world["variables"]
    assert Path(world["folder"]).samefile(tmp_path)
    assert str(TOOL.parent) not in world["path"]  # its neighbours cannot shadow packages


def test_what_the_tool_prints_goes_to_the_log(tmp_path: Path) -> None:
    with worker(tmp_path) as toy:
        assert toy.ask({"do": "print"}) == {"sum": 0}
        assert toy.ask({"do": "print"}) == {"sum": 0}
    log = (tmp_path / "toy.log").read_text()
    assert log.count("this would break the protocol") == log.count("so would this") == 2


def test_a_flood_on_stderr_blocks_nothing_and_fills_no_disk(tmp_path: Path) -> None:
    with worker(tmp_path) as toy:
        assert toy.ask({"do": "shout"}) == {"sum": 0}
        assert toy.ask({"do": "add", "a": 1, "b": 1}) == {"sum": 2}
    assert client.LOGGED <= (tmp_path / "toy.log").stat().st_size < client.LOGGED + 200_000


# ---- what goes wrong -------------------------------------------------------------------------------------------


def test_an_error_is_of_its_request_alone(tmp_path: Path) -> None:
    with worker(tmp_path) as toy:
        pid = toy.ask({"do": "child"})["pid"]
        for _ in range(5):
            assert problem(toy, do="raise") == "toy: ValueError: this clip is not to my taste"
        assert problem(toy, do="nan").startswith("toy: ValueError: Out of range float values")
        assert toy.ask({"do": "add", "a": 1, "b": 2}) == {"sum": 3}
        assert alive(pid)  # still the same process: its child was not swept away with it
    assert ended(pid)


@pytest.mark.parametrize(
    ("do", "said"), [("crash", "the process ended with exit code 7"), ("segfault", "the process was killed by SIGSEGV")]
)
def test_a_crash_costs_one_request(tmp_path: Path, do: str, said: str) -> None:
    with worker(tmp_path) as toy:
        for _ in range(4):  # never three in a row
            assert said in problem(toy, do=do)
            assert toy.ask({"do": "add", "a": 1, "b": 2}) == {"sum": 3}
        if do == "crash":
            assert problem(toy, do=do).endswith("| last words")


def test_is_given_up_after_three_failures_in_a_row(tmp_path: Path) -> None:
    with worker(tmp_path) as toy:
        for _ in range(3):
            problem(toy, do="crash")
        began = time.monotonic()
        for _ in range(100):
            assert problem(toy, do="add", a=1, b=2) == "toy: given up: the process ended with exit code 7"
        assert time.monotonic() - began < 1


def test_a_hang_ends_at_the_time_limit_and_takes_its_process_with_it(tmp_path: Path) -> None:
    with worker(tmp_path, timeout=1) as toy:
        pid = toy.ask({"do": "child"})["pid"]
        began = time.monotonic()
        assert problem(toy, do="hang").startswith("toy: no answer within 1 s")
        assert time.monotonic() - began < 8
        assert ended(pid)
        assert toy.ask({"do": "add", "a": 1, "b": 2}) == {"sum": 3}


def test_close_interrupts_a_busy_process(tmp_path: Path) -> None:
    with worker(tmp_path, timeout=0.5) as toy:
        toy.ask({"do": "add", "a": 1, "b": 2})
        assert toy._process is not None
        process = toy._process.process
        assert process.stdin is not None
        process.stdin.write(b'{"id": 2, "do": "hang"}\n')
        process.stdin.flush()
        began = time.monotonic()
        toy.close()
        assert time.monotonic() - began < 3
        assert process.poll() == 0


def test_one_that_dies_at_the_start(tmp_path: Path) -> None:
    with worker(tmp_path, arguments={"die": True}) as toy:
        for _ in range(3):
            assert "toy: it did not start: RuntimeError: no such weights" in problem(toy, do="add", a=1, b=2)
        assert "given up: it did not start: RuntimeError" in problem(toy, do="add", a=1, b=2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"python": Path("/nowhere/python")}, "it did not start: [Errno 2]"),
        ({"script": Path("/nowhere/tool.py")}, "it did not start: FileNotFoundError"),
    ],
)
def test_one_that_is_not_there(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with worker(tmp_path, **changes) as toy:
        assert said in problem(toy, do="add", a=1, b=2)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Traceback (most recent call last):", "it answered nonsense: 'Traceback (most recent call last):'"),
        ("[1, 2]", "it answered nonsense: '[1, 2]'"),
        ('{"id": 1}', "it answered nonsense"),
        ('{"id": 1, "ok": 3}', "it answered nonsense"),
        ('{"id": 1, "ok": {}, "error": ""}', "it answered nonsense"),
        ('{"id": 7, "ok": {"value": 1.0}}', "it answered request 7 instead of 1"),
        ('{"id": 1, "ok": {"value": NaN}}', "it answered NaN for a number"),
        ('{"id": 1, "ok": {"value": -Infinity}}', "it answered -Infinity for a number"),
        ('{"id": 1, "ok": {"value": 1e999}}', "it answered 1e999 for a number"),
        ('{"id": 1, "ok": {"text": "' + "x" * (5 << 20) + '"}}', "it answered nonsense"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, said: str) -> None:
    (tmp_path / "line").write_text(line)
    greeting = "sys.stdin.readline(); say('{\"hello\": {}}'); sys.stdin.readline()"
    body = f"{greeting}; say(open('line').read()); time.sleep(60)"
    monkeypatch.setattr(client, "SERVE", raw(tmp_path, body))
    with worker(tmp_path, folder=tmp_path) as toy:
        assert said in problem(toy, do="add")


def test_a_wrong_greeting_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SERVE", raw(tmp_path, 'say(\'{"id": 1, "ok": {}}\'); time.sleep(60)'))
    with worker(tmp_path) as toy:
        assert "it did not start: its first line is not a greeting" in problem(toy, do="add")


def test_nothing_is_fetched(tmp_path: Path) -> None:
    with worker(tmp_path) as toy:
        said = "a file is missing: the tool would now run wget https://example.org/weights.pth"
        assert problem(toy, do="wget") == f"toy: FileNotFoundError: {said}"
        assert "a file is missing: the tool would now connect to ('127.0.0.1', 9)" in problem(toy, do="connect")
        assert toy.ask({"do": "run"}) == {"said": "here\n"}  # other programs are its own business


def test_it_does_not_outlive_the_one_who_asked(tmp_path: Path) -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from metrics.workers.client import Program, Worker\n"
        "toy = Worker(Program('toy', Path(sys.executable), Path(sys.argv[2]), {}, Path(sys.argv[3])))\n"
        "toy.ask({'do': 'add', 'a': 1, 'b': 2}); process = toy._process.process; print(process.pid, flush=True)\n"
        'process.stdin.write(b\'{"id": 2, "do": "hang"}\\n\'); process.stdin.flush(); os.kill(os.getpid(), 9)'
    )
    words = [sys.executable, "-c", code, str(Path(__file__).parents[3]), str(TOOL), str(tmp_path / "log")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == -9
    assert ended(int(done.stdout))


def test_a_closed_worker_starts_again(tmp_path: Path) -> None:
    with worker(tmp_path) as toy:
        assert toy.ask({"do": "add", "a": 1, "b": 2}) == {"sum": 3}
        toy.close()
        toy.close()
        assert toy.ask({"do": "add", "a": 2, "b": 2}) == {"sum": 4}


def alive(pid: int) -> bool:
    """A process that runs; one that ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def ended(pid: int) -> bool:
    """Within a few seconds: the kernel takes its time."""
    end = time.monotonic() + 5
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)
