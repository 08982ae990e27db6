"""The node's health over HTTP, on loopback: live, ready, and each dependency.

Hides FastAPI and uvicorn. Promises to answer without waiting for a model, and no patient data.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse

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
        body["dependencies"] = {name: {"ok": d.ok, "detail": d.detail} for name, d in dependencies.items()}
    return JSONResponse(body, status_code=200 if ready else 503)


class HealthServer:
    """Owns the HTTP server's thread."""

    def __init__(self, *, host: str, port: int, version: str, look: Look) -> None:
        """Bind nothing yet."""
        config = uvicorn.Config(
            health_app(version, look), host=host, port=port, log_config=None, access_log=False, lifespan="off"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="health", daemon=True)

    def start(self) -> None:
        """Begin to answer, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.should_exit = True
        self._thread.join(timeout=5)
