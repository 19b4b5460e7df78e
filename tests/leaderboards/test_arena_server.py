"""The study over HTTP: what raters get, what nobody gets, and that nothing is lost."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import cli
from harness.errors import UserError
from leaderboards.arena.design import design
from leaderboards.arena.server import ArenaServer, byte_range, is_loopback
from leaderboards.arena.session import Session, check_clips
from leaderboards.arena.store import FILE, StudyFile, create, open_study
from leaderboards.arena.study import questions
from leaderboards.rank import table
from tests.leaderboards.browser import Browser
from tests.leaderboards.runs import DIGEST
from tests.leaderboards.studies import ASKED, write_runs

SHAPE = {"frames": 9, "height": 32, "width": 32, "fps": 8.0}
SECRETS = ("plain", "fancy", "secret", ".mp4", "seed0")


class Client:
    """One browser, without the browser."""

    def __init__(self, port: int, **headers: str) -> None:
        self.port, self.headers = (
            port,
            {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json", **headers},
        )

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        line.request(method, path, content, {k: v for k, v in (self.headers | headers).items() if v})
        reply = line.getresponse()
        data = reply.read()
        line.close()
        return reply.status, dict(reply.getheaders()), data

    def post(self, what: str, **body: Any) -> dict[str, Any]:
        status, _, data = self.ask("POST", f"/api/{what}", body)
        told = json.loads(data)
        assert status == 200, told
        return dict(told)

    def answer(self, state: dict[str, Any], side: str, **more: Any) -> dict[str, Any]:
        body = {"rater": state["rater"], "trial": state["trial"], "question": state["question"]["key"], "side": side}
        return self.post("answer", **(body | {"plays": 1, "seconds": 2.5} | more))


@contextmanager
def serving(folder: Path, host: str = "127.0.0.1", only: str = "", video: bool = False) -> Iterator[ArenaServer]:
    path = folder / FILE
    file = (
        open_study(path)
        if path.exists()
        else create(path, design(table(folder), (), questions(ASKED), pairs=10, panel=3, seed=0))
    )
    server = ArenaServer(Session(file, folder, SHAPE, only), host, 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        file.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ArenaServer]:
    with serving(folder) as found:
        yield found


def kept(folder: Path) -> list[Any]:
    file: StudyFile = open_study(folder / FILE)
    found = file.judgements()
    file.close()
    return found


# ---- a study ---------------------------------------------------------------------------------------------------------


def test_ten_pairs_blind(tmp_path: Path) -> None:
    """Every response is searched for what a rater must not know; every answer is in the file as soon as it is sent."""
    folder = write_runs(tmp_path)
    with serving(folder) as server:
        client = Client(server.port)
        seen = [client.ask("GET", path)[2] for path in ("/", "/arena.js", "/arena.css", "/page.css")]
        hello = client.post("hello")
        assert (hello["pairs"], hello["questions"], hello["rater"]) == (
            10,
            ["Which one?", "Which moves <b>better</b>?"],
            "",
        )
        state, said = client.post("step", rater="Ada"), []
        while not state["done"]:
            assert state["step"] == state["first"] == len(said)
            assert state["part"] == [len(said) % 2 + 1, 2]
            seen.append(json.dumps(state).encode())
            clips = [client.ask("GET", f"/{address}") for address in state["clips"]]
            assert [status for status, _, _ in clips] == [200, 200]
            assert not any(word in str(headers) for _, headers, _ in clips for word in SECRETS)
            left, right = (data.decode() for _, _, data in clips)
            assert left == right  # the fixture's clips say prompt and seed: both of a pair are of the same
            side = ("left", "right", "tie")[len(said) % 3]
            said.append((state, side))
            state = client.answer(state, side)
            found = kept(folder)
            assert len(found) == len(said)
        assert (state["steps"], state["pairs"], state["rater"]) == (20, 10, "Ada")
        assert not any(word.encode() in page for page in seen for word in SECRETS)
    sides = {
        "left": {True: "first", False: "second"},
        "right": {True: "second", False: "first"},
        "tie": dict.fromkeys((True, False), "tie"),
    }
    by_key = {(j.clip, j.question): j for j in found}
    for state, side in said:
        mine = [
            j
            for (clip, key), j in by_key.items()
            if key == state["question"]["key"] and f" {int(clip[:4])} " in state["prompt"]
        ]
        assert any(j.choice == sides[side][j.first_left] for j in mine)
    assert [(j.plays, j.seconds) for j in found] == [(1, 2.5)] * 20


def test_undo_shows_the_answer_and_a_change_is_kept(tmp_path: Path) -> None:
    folder = write_runs(tmp_path)
    with serving(folder) as server:
        client = Client(server.port)
        first = client.post("step", rater="Ada")
        second = client.answer(first, "left")
        back = client.post("step", rater="Ada", step=0)
        assert (back["given"], back["trial"], back["step"], back["first"]) == ("left", first["trial"], 0, 1)
        status, _, _ = client.ask("POST", "/api/answer", {
            "rater": "Ada", "trial": first["trial"], "question": "overall", "side": "right", "plays": 1, "seconds": 1.0,
        })  # fmt: skip
        assert status == 409  # another window, perhaps: a change must be meant
        assert client.answer(back, "right", change=True) == second
        assert client.post("step", rater="Ada", step=0)["given"] == "right"
        assert client.post("step", rater="Ada", step=99)["step"] == 1  # nobody looks ahead
        assert len(kept(folder)) == 1


def test_two_raters_at_once(tmp_path: Path) -> None:
    folder = write_runs(tmp_path)
    with serving(folder) as server:

        def rate(name: str) -> int:
            client = Client(server.port)
            state, steps = client.post("step", rater=name), 0
            while not state["done"]:
                state, steps = client.answer(state, "left"), steps + 1
            return steps

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(rate, ("Ada", "Ben"))) == [20, 20]
    found = kept(folder)
    assert len(found) == 40
    choices = {(j.trial, j.question, j.rater): j.choice for j in found}
    for (trial, key, rater), choice in choices.items():  # always left, and the sides were exchanged
        assert {choice, choices[trial, key, 1 - rater]} == {"first", "second"}


def start(root: Path) -> tuple[subprocess.Popen[str], int]:
    """The command itself, in a process of its own."""
    repository = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", "arena", "serve", "--runs", str(root), "--port", "0"],
        stdout=subprocess.PIPE, text=True, cwd=repository, env=os.environ | {"PYTHONPATH": str(repository)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background shell ignores it
    )  # fmt: skip
    assert process.stdout is not None
    line = next(line for line in process.stdout if line.startswith("arena  "))
    return process, int(line.split(":")[-1].strip(" /\n"))


def test_a_killed_server_has_lost_nothing(tmp_path: Path) -> None:
    folder = write_runs(tmp_path)
    create(folder / FILE, design(table(folder), ("plain", "fancy"), questions(["only=Which?"]), 10, 3, 0)).close()
    process, port = start(tmp_path)
    client = Client(port)
    state = client.post("step", rater="Ada")
    for _ in range(4):
        state = client.answer(state, "left")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(OSError):  # noqa: PT011
        client.post("step", rater="Ada")
    process, port = start(tmp_path)
    try:
        client = Client(port)
        again = client.post("step", rater="ada")
        assert {k: again[k] for k in ("step", "trial", "clips", "prompt")} == {
            k: state[k] for k in ("step", "trial", "clips", "prompt")
        }
        assert client.ask("GET", "/" + state["clips"][0])[0] == 200  # an open page goes on, too
        state = again
        while not state["done"]:
            state = client.answer(state, "tie")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert process.returncode == 0
    assert [j.choice for j in kept(folder)].count("tie") == 6
    assert len({j.trial for j in kept(folder)}) == 10


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/clip/../suite.json", "/clip/..%2f..%2fsuite.json", "/clip/%2e%2e/suite.json", "/../suite.json", "/suite.json",
        "/clip/", "/clip/0000", "/clip/plain", "/arena/study.sqlite", "//etc/passwd", "/clip/0/../../suite.json",
        "/web/arena.js", "/arena.html", "/clip/" + "f" * 24, "/favicon.ico", "/api/step",
    ],
)  # fmt: skip
def test_only_the_page_and_the_studys_clips_are_served(server: ArenaServer, path: str) -> None:
    status, _, data = Client(server.port).ask("GET", path)
    assert status == 404
    assert json.loads(data)["error"] in {"nothing here", "no such clip"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403), ({"Host": "evil.example:8760"}, 403), ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403), ({"Origin": ""}, 403), ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415), ({}, 200),
    ],
)  # fmt: skip
def test_other_sites_are_refused(server: ArenaServer, headers: dict[str, str], status: int) -> None:
    """A page elsewhere that posts, and a name elsewhere that points here (DNS rebinding)."""
    assert Client(server.port).ask("POST", "/api/hello", {}, **headers)[0] == status
    if "Host" in headers:
        assert Client(server.port).ask("GET", "/", **headers)[0] == 403
        evil = {"Host": f"evil.example:{server.port}", "Origin": f"http://evil.example:{server.port}"}
        assert Client(server.port).ask("POST", "/api/hello", {}, **evil)[0] == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400), (b"[1]", 400), (b'"x"', 400), (b"{}", 400), (b"x" * 20_000, 413), (b"[" * 9_000, 400),
        ({"rater": ""}, 400), ({"rater": 3}, 400), ({"rater": "x" * 61}, 400), ({"rater": "Zed", "step": "1"}, 400),
        ({"rater": "Zed", "step": True}, 400),
    ],
)  # fmt: skip
def test_requests_that_make_no_sense(server: ArenaServer, body: Any, status: int) -> None:
    assert Client(server.port).ask("POST", "/api/step", body)[0] == status


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"plays": 0}, "played to the end"), ({"plays": True}, "plays is of the wrong"),
        ({"side": "first"}, "left, right"),
        ({"seconds": -1}, "played"), ({"seconds": float("nan")}, "played"), ({"trial": "x"}, "no such pair"),
        ({"question": "other"}, "no such"), ({"question": None}, "wrong kind"), ({"change": 1}, "wrong kind"),
    ],
)  # fmt: skip
def test_answers_that_do_not_count(server: ArenaServer, folder: Path, change: dict[str, Any], said: str) -> None:
    client = Client(server.port)
    state = client.post("step", rater="Zed")
    body = {"rater": "Zed", "trial": state["trial"], "question": "overall", "side": "tie", "plays": 1, "seconds": 1.0}
    status, _, data = client.ask("POST", "/api/answer", body | change)
    assert status == 400
    assert said in json.loads(data)["error"]
    assert kept(folder) == []


def test_another_address_needs_the_token(tmp_path: Path) -> None:
    with serving(write_runs(tmp_path), host="0.0.0.0") as server:
        client = Client(server.port)
        token = server.link.split("?token=")[1]
        assert len(token) >= 32
        clip = "/" + Session(server.session.file, server.session.folder, SHAPE).step({"rater": "Eve"})["clips"][0]
        for path in (
            "/",
            "/arena.js",
            clip,
            f"/?token={token[:-1]}",
            "/?token=",
            "/?token=%00%C3%A9%FF",
        ):
            status, headers, _ = client.ask("GET", path)
            assert (status, "Set-Cookie" in headers) == (403, False), path
        assert client.ask("POST", "/api/hello", {})[0] == 403
        assert client.ask("POST", "/api/hello", {}, Cookie=f"{server.cookie}={token[:-1]}x")[0] == 403
        status, headers, _ = client.ask("GET", f"/?token={token}")
        assert (status, headers["Location"]) == (303, "/")
        assert headers["Set-Cookie"].endswith("HttpOnly; SameSite=Lax")
        cookie = headers["Set-Cookie"].split(";")[0]
        assert client.ask("GET", clip, Cookie=cookie)[0] == 200
        assert client.ask("POST", "/api/hello", {}, Cookie=cookie)[0] == 200
        assert client.ask("POST", "/api/hello", {}, Cookie=cookie, Origin="http://evil.example")[0] == 403


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
     ("10.0.0.1", False), ("::", False), ("example.org", False)],
)  # fmt: skip
def test_what_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_study_for_one_rater(tmp_path: Path) -> None:
    with serving(write_runs(tmp_path), only="Ada") as server:
        client = Client(server.port)
        assert client.post("hello")["rater"] == "Ada"
        assert client.ask("POST", "/api/step", {"rater": "Ben"})[0] == 403
        assert client.post("step", rater="ada")["step"] == 0


def test_every_answer_has_the_headers_that_browsers_heed(server: ArenaServer) -> None:
    for method, path in (("GET", "/"), ("GET", "/nowhere"), ("POST", "/api/hello"), ("HEAD", "/arena.css")):
        _, headers, _ = Client(server.port).ask(method, path, {} if method == "POST" else None)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_the_page_fetches_nothing_from_elsewhere_and_has_no_inline_code(server: ArenaServer) -> None:
    page = Client(server.port).ask("GET", "/")[2].decode()
    assert "://" not in page
    assert "style=" not in page
    assert page.count("<script") == page.count('<script src="arena.js">') == 1
    script = Client(server.port).ask("GET", "/arena.js")[2].decode()
    assert not any(word in script for word in ("innerHTML", "insertAdjacentHTML", "document.write", "eval(", "://"))


# ---- clips -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None), ("bytes=0-", (0, 100)), ("bytes=10-19", (10, 20)), ("bytes=90-500", (90, 100)),
        ("bytes=-7", (93, 100)), ("bytes=-500", (0, 100)), ("bytes=100-", (100, 100)), ("bytes=5-4", None),
        ("bytes=-", None), ("bytes=0-1,5-6", None), ("items=0-1", None), ("bytes=-0", (100, 100)),
        ("bytes=" + "9" * 5000 + "-", None),
    ],
)  # fmt: skip
def test_ranges(header: str, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, 100) == expected


def test_clips_come_whole_and_in_parts(server: ArenaServer) -> None:
    client = Client(server.port)
    address = "/" + client.post("step", rater="Zed")["clips"][0]
    status, headers, whole = client.ask("GET", address)
    assert (status, headers["Content-Type"], headers["Accept-Ranges"]) == (200, "video/mp4", "bytes")
    status, headers, part = client.ask("GET", address, Range="bytes=3-7")
    assert (status, headers["Content-Range"], part) == (206, f"bytes 3-7/{len(whole)}", whole[3:8])
    status, headers, part = client.ask("GET", address, Range=f"bytes={len(whole)}-")
    assert (status, headers["Content-Range"], part) == (416, f"bytes */{len(whole)}", b"")
    status, headers, nothing = client.ask("HEAD", address)
    assert (status, int(headers["Content-Length"]), nothing) == (200, len(whole), b"")


def test_a_clip_that_changed_is_not_shown(tmp_path: Path) -> None:
    folder = write_runs(tmp_path)
    with serving(folder) as server:
        client = Client(server.port)
        clips = list(folder.glob("*/seed0/clips/*.mp4"))
        for clip in clips:
            clip.write_bytes(b"another clip")
        assert client.ask("GET", "/" + client.post("step", rater="Ada")["clips"][0])[0] == 410
        check_clips(server.session.study, folder)  # the record still says what it said
        (clips[0].parents[1] / "clips.jsonl").write_text("")
        with pytest.raises(UserError, match="is not the clip that the study began with"):
            check_clips(server.session.study, folder)


# ---- the command -----------------------------------------------------------------------------------------------------


def _answer_and_interrupt(server: ArenaServer) -> None:
    """Someone answers the first question, and Ctrl-C is pressed."""
    state = server.session.step({"rater": "Ada", "step": 0})
    body = {"rater": "Ada", "trial": state["trial"], "question": state["question"]["key"], "side": "tie", "plays": 1}
    server.session.answer(body | {"seconds": 1.0})
    raise KeyboardInterrupt


def test_a_study_that_has_begun_keeps_its_design(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_runs(tmp_path)
    monkeypatch.setattr(ArenaServer, "serve_forever", _answer_and_interrupt)

    def run(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["mutoscope", "arena", *words, "--runs", str(tmp_path)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        told = capsys.readouterr()
        assert code == (2 if told.err else 0)
        return told.err or told.out

    told = run("serve", "--rows", "plain,secret", "--pairs", "7", "--question", "Which is it?", "--port", "0")
    assert f"quick@{DIGEST[:8]}: plain, secret; 0 raters so far" in told
    assert "arena  http://127.0.0.1:" in told
    file = open_study(folder / FILE)
    assert (file.study.pairs, file.study.panel, file.study.questions[0].key) == (7, 3, "which_is_it")
    assert [row.label for row in file.study.rows] == ["plain", "secret"]
    file.close()
    assert "1 rater so far" in run("serve", "--port", "0")  # without options the study goes on
    assert "begun with another --pairs, --seed" in run("serve", "--pairs", "5", "--seed", "9")
    assert "begun with another --rows, --question" in run("serve", "--rows", "plain,fancy", "--question", "x=Which?")
    assert "1 judgement by 1 rater" in run("report")
    assert json.loads(run("report", "--json"))["questions"][0]["judgements"] == 1
    assert 'no suite called "slow"' in run("report", "slow")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rows", "plain,plian"], 'no row "plian"'),
        (["--rows", "plain,plain"], "named twice"),
        (["--rows", "plain"], "no two clips"),
    ],
)
def test_rows_that_cannot_be_compared(words: list[str], said: str, tmp_path: Path) -> None:
    board = table(write_runs(tmp_path, prompts=2))
    with pytest.raises(UserError, match=said):
        design(board, words[1].split(","), questions(ASKED), 10, 3, 0)


# ---- in a browser ----------------------------------------------------------------------------------------------------


def test_clicking_through_ten_pairs(page: Browser, tmp_path: Path, keep: Callable[[str], None]) -> None:
    """By keyboard and mouse; texts stay text, answers wait for the clips' end, nothing comes from elsewhere."""
    folder = write_runs(tmp_path / "runs", video=True)
    hidden = "document.getElementById('{}').hidden"
    ready = "!document.getElementById('trial').classList.contains('waiting')"
    with serving(folder) as server:
        page.open(server.link)
        page.wait("!" + hidden.format("start"))
        assert "Which moves <b>better</b>?" in page.run("document.getElementById('asked').textContent")
        keep("arena-start")
        page.type("<i>Ada</i>")
        page.press("Enter")
        page.wait("!" + hidden.format("trial"))
        assert "<b>boxes</b>" in page.run("document.getElementById('prompt').textContent")
        page.run("choose('left')")  # before the end: no answer
        assert kept(folder) == []
        for step in range(20):
            page.wait(f"now.step === {step} && {ready} && plays > 0")
            if step == 0:
                assert page.run("videos.every(v => v.error === null && v.currentTime > 1 && v.videoWidth === 32)")
            if step == 1:
                keep("arena-pair")
                page.press("u")
                page.wait("now.step === 0 && now.given === 'left' && plays > 0")
                page.press("ArrowRight")
                page.wait("now.step === 1 && plays > 0")
            if step == 2:
                page.dark()
                keep("arena-dark")
            if step == 4:
                page.resize(400, 800)
                page.wait("innerWidth === 400")
                assert page.run("document.documentElement.scrollWidth") <= 400
                assert page.run("document.querySelector('.choices').getBoundingClientRect().bottom") <= 800
                keep("arena-phone")
                page.resize(1280, 800)
            if step % 4 == 3:
                page.run("document.querySelector('.choices [data-side=tie]').click()")
            else:
                page.press(("ArrowLeft", "t", "ArrowRight", "")[step % 4])
        page.wait("!" + hidden.format("thanks"))
        assert page.run("document.getElementById('who').textContent") == "<i>Ada</i>"
        assert page.run("document.querySelectorAll('b, i').length") == 1  # the number of pairs
        keep("arena-thanks")
        assert all(address.startswith(server.link) for address in page.requests())
        assert page.errors() == []
    found = kept(folder)
    assert len(found) == 20
    assert [j.choice for j in found].count("tie") == 10
    file = open_study(folder / FILE)
    assert (file.changed(), file.raters()) == (1, {0: "<i>Ada</i>"})
