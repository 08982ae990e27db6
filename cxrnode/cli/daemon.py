"""`cxrnode serve` and `cxrnode check`."""

from __future__ import annotations

import signal
from types import FrameType

import typer

from cxrnode.cli.app import Json, app, say, say_json, settings


@app.command()
def serve() -> None:
    """Run the node until SIGTERM or SIGINT: receive, analyse, deliver."""
    from cxrnode import telemetry
    from cxrnode.node import Node

    in_force = settings()
    telemetry.start_logging(in_force.log.level)
    telemetry.guard_tracebacks()
    node = Node(in_force)

    def stop(number: int, frame: FrameType | None) -> None:
        node.engine.stopped.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    node.start()
    try:
        node.wait()
    finally:
        node.stop()


@app.command()
def check(json: Json = False) -> None:
    """Check settings, ledger, disk, model digests, and C-ECHO each destination. Exit code 1 if anything is wrong."""
    from cxrnode.check import run_checks

    results = run_checks(settings())
    if json:
        say_json([{"check": r.name, "ok": r.ok, "detail": r.detail, "hint": r.hint} for r in results])
    else:
        for result in results:
            say(f"{'ok  ' if result.ok else 'FAIL'}  {result.name}: {result.detail}")
            if result.hint and not result.ok:
                say(f"      {result.hint}")
    if not all(result.ok for result in results):
        raise typer.Exit(1)
