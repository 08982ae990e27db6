"""One origin for the viewer and the archive, as a hospital's reverse proxy makes it.

Hides HTTP. Promises that the viewer's files, its configuration and Orthanc's DICOMweb come from one address, so that a
browser that allows no other origin shows the studies, and that the server ends with its `with`.
"""

from __future__ import annotations

import http.client
import mimetypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.peers import LOOPBACK, RUN_SECONDS

CONFIGURATION = Path(__file__).with_name("configuration.js")
ARCHIVE = "/dicom-web"

_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "content-length",
}  # RFC 9110
_ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What a browser asks of a page that shares memory with its workers."""
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}


class _Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: Path
    archive_port: int

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith(ARCHIVE):
            self._pass_on()
        elif path == "/favicon.ico":
            self._answer(204, {}, b"")  # the package has none; a 404 would be an error of the console
        elif path == "/app-config.js":
            self._give(CONFIGURATION)
        else:
            self._give(self._file(path))

    def do_POST(self) -> None:
        self._pass_on()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: what goes wrong is seen in the browser."""

    def _file(self, path: str) -> Path | None:
        """The viewer's own file, or its page for the addresses that the page itself reads (`/viewer?...`)."""
        wanted = (self.files / path.lstrip("/")).resolve()
        if wanted.is_relative_to(self.files) and wanted.is_file():
            return wanted
        return None if wanted.suffix else self.files / "index.html"

    def _give(self, file: Path | None) -> None:
        if file is None:
            self._answer(404, {}, b"")
            return
        kind = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        self._answer(200, {"Content-Type": kind}, file.read_bytes())

    def _pass_on(self) -> None:
        """Ask the archive; with our own host in the request, its answers name addresses of this origin."""
        sent = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        sent["Forwarded"] = f"host={self.headers['Host']};proto=http"
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        archive = http.client.HTTPConnection(LOOPBACK, self.archive_port, timeout=RUN_SECONDS)
        try:
            archive.request(self.command, self.path, body or None, sent)
            answer = archive.getresponse()
            content = answer.read()
        finally:
            archive.close()
        given = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP}
        self._answer(answer.status, given, content)

    def _answer(self, status: int, fields: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in (fields | _ISOLATED | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(content)
        except ConnectionError:
            self.close_connection = True  # the browser left the page


@contextmanager
def serving(files: Path, archive_port: int) -> Iterator[str]:
    """Serve for the time of the `with`; gives the address."""
    handler = type("_ThisFront", (_Front,), {"files": files.resolve(), "archive_port": archive_port})
    with ThreadingHTTPServer((LOOPBACK, 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
