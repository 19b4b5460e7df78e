"""The worker's side of the pipe. Runs in the tool's environment: `python -I serve.py SCRIPT`; standard library only.

SCRIPT defines `start(arguments) -> answer`, where `answer(request) -> result` (both plain JSON objects), and may list
the distributions that decide its numbers in `PACKAGES`. Protocol, a JSON object a line:

    in   {"arguments": {...}, "paths": [...]}          once; the paths go on sys.path
    out  {"hello": {"python": ..., <package>: <version>}}   or {"id": null, "error": ...}
    in   {"id": 1, ...}                                a request
    out  {"id": 1, "ok": {...}}                        or {"id": 1, "error": "..."}

What the tool prints goes to stderr: only this file writes to the real standard output. The process ends at once when
standard input closes, whatever it is doing, so that it never outlives the one who asked. Nothing is downloaded: what a
tool would fetch is an error.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import queue
import socket
import subprocess
import sys
import threading
import traceback
from importlib.metadata import version
from typing import Any, TextIO


def main(script: str) -> int:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _stay_offline()
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    try:
        first = requests.get()
        sys.path[:0] = first["paths"]
        tool = _load(script)
        answer = tool.start(first["arguments"])
        versions = {name: version(name) for name in getattr(tool, "PACKAGES", ())}
    except Exception as error:
        traceback.print_exc()
        _say(answers, {"id": None, "error": _brief(error)})
        return 1
    _say(answers, {"hello": {"python": platform.python_version(), **versions}})
    while True:
        request = requests.get()
        number = request.pop("id")
        try:
            _say(answers, {"id": number, "ok": answer(request)})
        except Exception as error:
            traceback.print_exc()
            _say(answers, {"id": number, "error": _brief(error)})


def _listen(requests: queue.Queue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    os._exit(0)


def _stay_offline() -> None:
    """No download tool is started and no connection made, whatever the tool thinks is missing."""
    run = subprocess.run

    def refuse(command: Any, *words: Any, **options: Any) -> Any:
        if not isinstance(command, str) and command[0] in ("wget", "curl", "git", "unzip"):
            raise FileNotFoundError(f"a file is missing: the tool would now run {' '.join(map(str, command))}")
        return run(command, *words, **options)

    def unplugged(self: socket.socket, address: Any) -> None:
        raise ConnectionRefusedError(f"a file is missing: the tool would now connect to {address}")

    subprocess.run = refuse  # type: ignore[assignment]
    socket.socket.connect = unplugged  # type: ignore[assignment,method-assign]


def _load(script: str) -> Any:
    spec = importlib.util.spec_from_file_location("tool", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tool"] = module
    spec.loader.exec_module(module)
    return module


def _brief(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _say(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message, allow_nan=False) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
