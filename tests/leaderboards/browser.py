"""A headless Chromium, driven through its DevTools protocol over a pipe: no package, no port."""

from __future__ import annotations

import base64
import io
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), "")
MISSING = "no Chromium here; install it with: apt-get install chromium"
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio",
    "--hide-scrollbars", "--disable-extensions", "--disable-background-networking", "--remote-debugging-pipe",
    "--autoplay-policy=no-user-gesture-required", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)  # fmt: skip
LOCAL = ("file:", "data:", "blob:", "about:")  # addresses that leave no machine
CODES = {
    "Tab": 9,
    "Enter": 13,
    "Escape": 27,
    " ": 32,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
}
TEXTS = {"Enter": "\r", " ": " "}
PATIENCE = 60.0  # seconds; machines that run tests are busy


class Browser:
    """One page. `with Browser() as page: page.open(address); page.run("document.title")`."""

    def __init__(self, width: int = 1280, height: int = 800) -> None:
        self.width, self.height = width, height
        self.messages: list[dict[str, Any]] = []  # events that were not asked for, such as console output
        self._count, self._rest = 0, b""
        self._session = ""  # of the page; commands without one go to the browser

    def __enter__(self) -> Browser:
        self._folder = tempfile.mkdtemp(prefix="browser-")
        read, theirs_out = os.pipe()
        theirs_in, write = os.pipe()
        words = [CHROMIUM, *FLAGS, f"--user-data-dir={self._folder}", f"--window-size={self.width},{self.height}"]
        # Chromium reads commands from descriptor 3 and answers on 4
        shell = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *words, "about:blank"],
            pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._read, self._write = read, write
        self._attach(next(t for t in self._targets() if t["type"] == "page")["targetId"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)
        shutil.rmtree(self._folder, ignore_errors=True)

    # ---- what tests do ---------------------------------------------------------------------------------------------

    def fresh(self) -> None:
        """Another tab instead of this one: light, of the first size, with nothing in the console."""
        old, self._session = self._target, ""
        new = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.send("Target.closeTarget", targetId=old)
        self.messages.clear()
        self._attach(new)

    def resize(self, width: int, height: int, scale: float = 1.0) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)

    def dark(self, on: bool = True) -> None:
        features = [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def open(self, address: str) -> None:
        self.send("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression, awaited."""
        told = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in told:
            raise AssertionError(told["exceptionDetails"]["exception"].get("description", script))
        return told["result"].get("value")

    def wait(self, condition: str, patience: float = PATIENCE) -> None:
        """Until an expression is true; one that fails is not, because a page that is being left has no elements."""
        end, trouble = time.monotonic() + patience, ""
        while True:
            try:
                if self.run(f"Boolean({condition})"):
                    return
            except AssertionError as error:
                trouble = str(error)
            if time.monotonic() > end:
                says = self.run("document.body.innerText.slice(0, 500)")
                raise AssertionError(f"not within {patience:g} s: {condition} {trouble}; page says: {says}")
            time.sleep(0.05)

    def press(self, key: str, shift: bool = False) -> None:
        """A key of the keyboard, by its DOM name."""
        code = CODES.get(key) or ord(key.upper())
        text = TEXTS.get(key, key if len(key) == 1 else "")
        about: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.send("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": text} if text else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    def click(self, selector: str) -> None:
        """The left button of the mouse in the middle of an element, which must not be covered by another."""
        x, y = self.run(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)}); "
            "found.scrollIntoView({ block: 'center', behavior: 'instant' }); "
            "const box = found.getBoundingClientRect(); "
            "const at = [box.x + box.width / 2, box.y + box.height / 2], top = document.elementFromPoint(...at); "
            "if (!found.contains(top) && !top.contains(found)) throw new Error(`covered by ${top.outerHTML}`); "
            "return at })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def hover(self, selector: str) -> None:
        x, y = self.run(
            f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2] })()"
        )
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def type(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def pixels(self, selector: str) -> NDArray[np.int64]:
        """What is on the screen where an element is, `[height, width, 3]`."""
        box = self.run(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)}); "
            "found.scrollIntoView({ block: 'center', behavior: 'instant' }); const b = found.getBoundingClientRect(); "
            "return { x: b.x + scrollX, y: b.y + scrollY, width: b.width, height: b.height, scale: 1 } })()"
        )
        data = base64.b64decode(self.send("Page.captureScreenshot", format="png", clip=box)["data"])
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert("RGB"), np.int64)

    def requests(self) -> list[str]:
        """Every address that a page asked for and that is not on this machine's disk or in the page itself."""
        sent = [m["params"]["request"]["url"] for m in self.messages if m["method"] == "Network.requestWillBeSent"]
        return [address for address in sent if not address.startswith(LOCAL)]

    def errors(self) -> list[str]:
        """What scripts threw and the console complained of, except missing icons."""
        found = [
            m["params"]["exceptionDetails"]["text"] for m in self.messages if m["method"] == "Runtime.exceptionThrown"
        ]
        calls = [m["params"] for m in self.messages if m["method"] == "Runtime.consoleAPICalled"]
        found += [str(call["args"]) for call in calls if call["type"] in {"error", "assert"}]
        entries = [m["params"]["entry"] for m in self.messages if m["method"] == "Log.entryAdded"]
        return found + [e["text"] for e in entries if e["level"] == "error" and "favicon" not in e.get("url", "")]

    # ---- the protocol ----------------------------------------------------------------------------------------------

    def _attach(self, target: str) -> None:
        self._target = target
        self._session = ""
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.resize(self.width, self.height)

    def send(self, method: str, **params: Any) -> Any:
        self._count += 1
        number = self._count
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == number:
                assert "error" not in told, f"{method}: {told['error']}"
                return told["result"]
            if "method" in told:
                self.messages.append(dict(told))

    def _targets(self) -> list[dict[str, Any]]:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = self.send("Target.getTargets")["targetInfos"]
            if any(target["type"] == "page" for target in found):
                return list(found)
            time.sleep(0.1)
        raise AssertionError("the browser has no page")

    def _next(self) -> Mapping[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], PATIENCE)
            data = os.read(self._read, 2**20) if ready else b""
            assert data, "the browser does not answer"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(line))
