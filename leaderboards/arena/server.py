"""The study over HTTP, for browsers on this machine or, with a token, in the network. Standard library only.

What it guards against: other sites open in the same browser (Host must be ours, Origin of a POST too, JSON only, no
framing, nothing embeddable), others in the network (token, compared in constant time), paths (clips go by opaque ids,
pages by a fixed list), text that is code (pages are constant and set text as text; a policy forbids all inline code).
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from harness.errors import UserError
from harness.store import Json
from leaderboards.arena.session import RefusedError, Session

WEB = Path(__file__).parents[1] / "web"
PAGES = {
    "/": ("arena.html", "text/html"), "/page.css": ("page.css", "text/css"), "/arena.css": ("arena.css", "text/css"),
    "/arena.js": ("arena.js", "text/javascript"),
}  # fmt: skip
PORT = 8760
BODY_LIMIT = 16 * 2**10  # bytes of a request
CHUNK = 256 * 2**10
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class ArenaServer(ThreadingHTTPServer):
    """Serves one session; `link` is what to open."""

    daemon_threads = True

    def __init__(self, session: Session, host: str = "127.0.0.1", port: int | None = None) -> None:
        """
        Args:
            host: a loopback address, or another one, which then needs the token in `link`.
            port: default 8760, or one the system gives where that is taken; 0 always gives one.
        """
        self.session, self.host = session, host
        self.local = is_loopback(host)
        self.token = "" if self.local else secrets.token_urlsafe(24)
        self.address_family = family_of(host)
        for number in (PORT, 0) if port is None else (port,):
            try:
                super().__init__((host, number), Handler)
                break
            except OSError as error:
                if number == PORT and port is None:
                    continue
                raise UserError(
                    f"{host}:{number}: {error.strerror or error}", "give another --host or --port"
                ) from error

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def link(self) -> str:
        host = self.host if self.host not in {"0.0.0.0", "::", ""} else own_address(family_of(self.host))
        place = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"
        return f"{place}?token={self.token}" if self.token else place

    @property
    def cookie(self) -> str:
        """Cookies do not know ports: two studies on one machine need two names."""
        return f"arena{self.port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves in the middle of a clip is no error."""
        import sys

        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: ArenaServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "mutoscope", ""
    timeout = 60  # seconds a connection may idle

    def do_GET(self) -> None:
        self._guarded(self._get)

    def do_HEAD(self) -> None:
        self._guarded(self._get)

    def do_POST(self) -> None:
        self._guarded(self._post)

    def log_message(self, *_: Any) -> None:
        """Raters' requests are nobody's reading."""

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            self._raw = self._read()  # before any refusal, or closing the connection could lose the answer
            self._check_host()
            act()
        except RefusedError as refused:
            self.close_connection = True  # what was not read of the request must not be taken for the next one
            self._send(refused.status, json.dumps({"error": refused.text}).encode(), "application/json")
        except UserError as error:
            self.close_connection = True
            self._send(503, json.dumps({"error": f"{error.problem}. {error.remedy}"}).encode(), "application/json")

    def _get(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/" and self.server.token and "token" in (query := parse_qs(address.query)):
            self._admit(query["token"][0])
            return
        self._check_token()
        if address.path in PAGES:
            name, kind = PAGES[address.path]
            self._send(200, (WEB / name).read_bytes(), f"{kind}; charset=utf-8")
        elif match := re.fullmatch(r"/clip/([0-9a-f]+)", address.path):
            self._clip(self.server.session.clip(match[1]))
        else:
            raise RefusedError(404, "nothing here")

    def _post(self) -> None:
        self._check_token()
        origin = urlsplit(self.headers.get("Origin", ""))
        if origin.scheme not in {"http", "https"} or origin.netloc != self.headers.get("Host"):
            raise RefusedError(403, "only the study's own page may send answers")
        session = self.server.session
        acts = {"/api/hello": lambda _: session.hello(), "/api/step": session.step, "/api/answer": session.answer}
        act = acts.get(self.path)
        if act is None:
            raise RefusedError(404, "nothing here")
        self._send(200, json.dumps(act(self._body())).encode(), "application/json")

    def _read(self) -> bytes:
        length = self.headers.get("Content-Length", "" if self.command == "POST" else "0")
        if not length.isdecimal() or int(length[:9]) > BODY_LIMIT:
            raise RefusedError(413 if length.isdecimal() else 411, "the request has no length, or too much of it")
        return self.rfile.read(int(length))

    def _body(self) -> Json:
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(415, "only JSON is understood")
        try:
            body = json.loads(self._raw)
        except (ValueError, RecursionError):
            raise RefusedError(400, "not JSON") from None
        if not isinstance(body, dict):
            raise RefusedError(400, "not a JSON object")
        return body

    # ---- who may ask -----------------------------------------------------------------------------------------------

    def _check_host(self) -> None:
        """On loopback only our own names: a site that points its own name here (DNS rebinding) is refused."""
        names = {f"{name}:{self.server.port}" for name in ("127.0.0.1", "localhost", "[::1]", self.server.host)}
        if self.server.local and self.headers.get("Host", "").lower() not in names:
            raise RefusedError(403, "this address is not the study's")

    def _check_token(self) -> None:
        if not self.server.token:
            return
        jar: SimpleCookie = SimpleCookie()
        with suppress(CookieError):
            jar.load(self.headers.get("Cookie", ""))
        found = jar.get(self.server.cookie)
        if found is None or not _same(found.value, self.server.token):
            raise RefusedError(403, "open the whole link, with its token, that whoever runs the study has")

    def _admit(self, token: str) -> None:
        """Take the token out of the address bar and into a cookie. Lax, because links come from mails and chats."""
        if not _same(token, self.server.token):
            raise RefusedError(403, "the token of this link is not right; ask for the link again")
        cookie = f"{self.server.cookie}={self.server.token}; Path=/; HttpOnly; SameSite=Lax"
        self._send(303, b"", "text/plain", {"Location": "/", "Set-Cookie": cookie})

    # ---- answers -----------------------------------------------------------------------------------------------------

    def _send(self, status: int, content: bytes, kind: str, more: dict[str, str] | None = None) -> None:
        self._head(status, len(content), kind, {"Cache-Control": "no-store", **(more or {})})
        if self.command != "HEAD":
            self.wfile.write(content)

    def _head(self, status: int, length: int, kind: str, more: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(length), **HEADERS, **more}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _clip(self, path: Path) -> None:
        """A clip, or the range of it that was asked for: players seek by ranges."""
        size = path.stat().st_size
        span = byte_range(self.headers.get("Range", ""), size)
        more = {"Accept-Ranges": "bytes", "Cache-Control": "private, max-age=3600"}
        if span is None:
            start, stop = 0, size
            self._head(200, size, "video/mp4", more)
        elif span[0] >= span[1]:
            self._head(416, 0, "video/mp4", more | {"Content-Range": f"bytes */{size}"})
            return
        else:
            start, stop = span
            self._head(206, stop - start, "video/mp4", more | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"})
        if self.command == "HEAD":
            return
        with open(path, "rb") as file:
            file.seek(start)
            while start < stop and (data := file.read(min(CHUNK, stop - start))):
                self.wfile.write(data)
                start += len(data)


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """[start, stop) of `Range: bytes=...`, empty where it lies beyond the end; None for no or another kind of range,
    which RFC 9110, section 14.2, lets a server ignore.
    """
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip(), flags=re.ASCII)
    if not match or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def own_address(family: socket.AddressFamily) -> str:
    """The address by which this machine reaches others; its name where it reaches none. Nothing is sent."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(("2001:db8::1" if family == socket.AF_INET6 else "192.0.2.1", 9))
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()


def _same(one: str, two: str) -> bool:
    return hmac.compare_digest(one.encode(), two.encode())
