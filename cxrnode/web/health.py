"""The node's health over HTTP, on loopback: live, ready, and each dependency.

Hides FastAPI and uvicorn. Promises to answer without waiting for a model, and no patient data.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Mapping

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from cxrnode.telemetry import Event, tell
from cxrnode.web.dependency import Dependency, Look


def health_app(version: str, look: Look) -> FastAPI:
    """Give the application: /health (all), /health/live and /health/ready (503 while not ready)."""
    app = FastAPI(title="cxrnode", version=version, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health/live")
    def live() -> dict[str, str]:
        return {"status": "live", "version": version}

    @app.get("/health/ready")
    def ready() -> JSONResponse:
        return _answer(version, look(), full=False)

    @app.get("/health")
    def health() -> JSONResponse:
        return _answer(version, look(), full=True)

    return app


def _answer(version: str, dependencies: Mapping[str, Dependency], *, full: bool) -> JSONResponse:
    ready = all(one.ok for one in dependencies.values() if one.needed)
    body: dict[str, object] = {"status": "ready" if ready else "not ready", "version": version}
    if full:
        body["pid"] = os.getpid()
        body["dependencies"] = {name: _shown(one) for name, one in dependencies.items()}
    return JSONResponse(body, status_code=200 if ready else 503)


def _shown(one: Dependency) -> dict[str, object]:
    return {"ok": one.ok, "detail": one.detail, **({"hint": one.hint} if one.hint else {})}


class HealthServer:
    """Owns the HTTP server's thread."""

    def __init__(self, *, host: str, port: int, version: str, look: Look) -> None:
        """Bind nothing yet."""
        config = uvicorn.Config(
            health_app(version, look), host=host, port=port, log_config=None, access_log=False, lifespan="off"
        )
        self._server, self._host, self._port = uvicorn.Server(config), host, port
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to answer, in a thread of its own. Where the port cannot be had that is told, and the node goes on."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listening = socket.create_server((self._host, self._port), family=family)
        except OSError as error:
            why = f"cannot listen: errno {error.errno}"
            hint = "see 'The port is taken' in docs/operations.md"
            tell(Event.HEALTH_UNAVAILABLE, logging.ERROR, port=self._port, reason=why, hint=hint)
            return
        self._thread = threading.Thread(target=self._server.run, args=([listening],), name="health", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=5)
