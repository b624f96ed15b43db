"""A small web server for one person on this machine: loopback only, behind a secret in the address."""

from __future__ import annotations

import hmac
import json
import os
import secrets
import sys
import threading
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from pad_parse.errors import AnnotationError, PadParseError

HOST = "127.0.0.1"
_PORTS_TRIED = 20
_MOST_AT_ONCE = 32
_POLL = 0.1
"""s; how soon the server notices that it is to end."""
_LAST_ANSWERS = 2.0
"""s; an answer that takes longer is cut off when the page ends."""
_LARGEST_BODY = 4_000_000
_TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript"}
_POLICY = (
    "default-src 'none'; img-src 'self' data:; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Answer:
    """What a request gets: bytes of a media type."""

    kind: str
    content: bytes
    status: int = 200

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Answer:
        """A value that JSON can say."""
        return cls("application/json", json.dumps(value, allow_nan=False).encode(), status)


Get = Callable[[str], Answer | None]
Post = Callable[[Any], Any]


class PageServer:
    """Serves the files of the `page` folder and a few functions under `http://127.0.0.1:PORT/SECRET/`.

    Requests without the secret, with another host name (DNS rebinding) or from another origin are refused.
    """

    def __init__(self, page: str, get: Mapping[str, Get], post: Mapping[str, Post], port: int = 0) -> None:
        """Listen, and serve from a thread of its own.

        Args:
            page: the HTML file in the `page` folder that the address itself shows.
            get: first part of a path -> function of the rest; None is "not found".
            post: path -> function of the request's JSON, returns JSON. A PadParseError is shown to the person.
            port: first port to try, the next free one of twenty is taken; 0: any free port.

        Raises:
            AnnotationError: none of the ports is free.
        """
        self._page, self._get, self._post = page, dict(get), dict(post)
        self._busy = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self._secret = secrets.token_urlsafe(18)
        self._server = self._listen(port)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL,), daemon=True, name="annotator-server"
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """The address to open; whoever knows it may use the page."""
        return f"http://{HOST}:{self.port}/{self._secret}/"

    def close(self) -> None:
        """Stop serving; answers that are under way are sent first."""
        self._server.shutdown()
        self._thread.join()
        for _ in range(_MOST_AT_ONCE):
            self._busy.acquire(timeout=_LAST_ANSWERS / _MOST_AT_ONCE)
        self._server.server_close()

    def _listen(self, port: int) -> ThreadingHTTPServer:
        owner = self

        class Handler(_Handler):
            server_owner = owner

        candidates = [0] if port == 0 else range(port, min(port + _PORTS_TRIED, 65536))
        for candidate in candidates:
            try:
                server = ThreadingHTTPServer((HOST, candidate), Handler)
            except OSError:
                continue
            server.daemon_threads = True
            return server
        raise AnnotationError(f"no free port on {HOST} from {port} on; choose another one with --port")

    def _accepts(self, host: str, origin: str | None) -> bool:
        allowed = {f"{name}:{self.port}" for name in (HOST, "localhost")}
        return host in allowed and (origin is None or origin in {f"http://{name}" for name in allowed})

    def _parts(self, path: str) -> list[str] | None:
        """Parts of a path behind the secret; None without it."""
        secret, _, rest = path.partition("?")[0].lstrip("/").partition("/")
        return rest.split("/") if hmac.compare_digest(secret.encode(), self._secret.encode()) else None

    def answer_get(self, path: str) -> Answer | None:
        """What a GET for `path` gets; None: not found."""
        parts = self._parts(path)
        if parts is None:
            return None
        if parts == [""]:
            return _file(self._page)
        if parts[0] == "page" and len(parts) == 2:
            return _file(parts[1])
        handler = self._get.get(parts[0])
        return None if handler is None else handler("/".join(parts[1:]))

    def answer_post(self, path: str, body: bytes) -> Answer | None:
        """What a POST gets; None: not found."""
        parts = self._parts(path)
        handler = None if parts is None else self._post.get("/".join(parts))
        if handler is None:
            return None
        try:
            value = json.loads(body or b"null")
        except (ValueError, RecursionError):
            return Answer.json({"error": "the request is no JSON"}, 400)
        try:
            return Answer.json(handler(value))
        except PadParseError as error:
            return Answer.json({"error": str(error)}, 422)


class _Handler(BaseHTTPRequestHandler):
    server_owner: PageServer
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        with self.server_owner._busy:
            if self._welcome():
                self._send(self.server_owner.answer_get(self.path))

    def do_POST(self) -> None:
        with self.server_owner._busy:
            if self._welcome():
                self._receive()

    def _receive(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.headers.get_content_type() != "application/json" or not length.isdigit():
            self._send(Answer.json({"error": "send application/json with a length"}, 415), close=True)
        elif int(length) > _LARGEST_BODY:
            self._send(Answer.json({"error": f"more than {_LARGEST_BODY} bytes"}, 413), close=True)
        else:
            self._send(self.server_owner.answer_post(self.path, self.rfile.read(int(length))))

    def _welcome(self) -> bool:
        if self.server_owner._accepts(self.headers.get("Host", ""), self.headers.get("Origin")):
            return True
        self._send(Answer.json({"error": "this page answers only under its own address"}, 403), close=True)
        return False

    def _send(self, answer: Answer | None, close: bool = False) -> None:
        answer = answer or Answer.json({"error": "there is nothing here"}, 404)
        try:
            self.send_response(answer.status)
            for name, value in {
                "Content-Type": answer.kind,
                "Content-Length": str(len(answer.content)),
                "Cache-Control": "no-store",
                "Content-Security-Policy": _POLICY,
                "Cross-Origin-Resource-Policy": "same-origin",
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
            }.items():
                self.send_header(name, value)
            if close:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            self.wfile.write(answer.content)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal is for the person."""


def open_in_browser(url: str) -> None:
    """Show the page where there is a screen; without one nothing happens (the address is told anyway)."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _file(name: str) -> Answer | None:
    folder = files("pad_parse.annotator") / "page"
    known = {item.name: item for item in folder.iterdir()}
    kind = _TYPES.get(name[name.rfind(".") :])
    if name not in known or kind is None:
        return None
    return Answer(kind, known[name].read_bytes())
