"""`cxrnode serve`, `cxrnode check` and `cxrnode conformance`: the node, and what it does towards its peers."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrnode.cli.app import Json, app, say, say_error, say_json, say_table, settings
from cxrnode.errors import CxrnodeError

if TYPE_CHECKING:
    from cxrnode.check import Offer, Result


@app.command()
def serve() -> None:
    """Run the node until SIGTERM or SIGINT: receive, analyse, deliver."""
    # A `systemctl reload` while everything is imported would end the process, and systemd takes that for a clean end.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from cxrnode import discretion, telemetry
    from cxrnode.node import Node

    discretion.keep_to_itself()
    in_force = settings()
    telemetry.start_logging(in_force.log.level)
    telemetry.guard_tracebacks()
    seen = discretion.demand_private(in_force.node.state_dir)
    if in_force.log.uids == "hashed":
        telemetry.hash_uids(discretion.salt_in(in_force.node.state_dir))
    if seen:
        telemetry.tell(telemetry.Event.FOLDER_OPEN, logging.WARNING, reason=seen, hint=discretion.HINT)
    node = Node(in_force)
    stop = node.engine.stopped.set
    # SIGHUP is `systemctl reload`: new certificates.
    heed({signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: node.reload})
    node.start()
    try:
        node.wait()
    finally:
        ended = node.stop()
        if not ended:
            _leave(sys.exception())


def heed(acts: Mapping[int, Callable[[], None]]) -> None:
    """Have done what each signal asks for, in a thread of its own, whatever the main thread does. May be called once.

    A handler of Python's waits for the main thread to come to itself, and that may never be: the thread sleeps in a
    lock, and another one took the signal, or it came in the moment of falling asleep. It also interrupts any line, one
    that holds the lock that the act waits for, too. What the interpreter writes to this pipe as the signal comes waits
    for nobody.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def answer() -> None:
        while True:
            for number in os.read(reader, 64):
                if number in acts:
                    acts[number]()

    threading.Thread(target=answer, name="signals", daemon=True).start()
    for number in acts:
        signal.signal(number, lambda number, frame: None)


def _leave(error: BaseException | None) -> None:
    """End the process under threads that did not end: what they hold is claimed at the next start, as after a kill."""
    code = say_error(error) if isinstance(error, CxrnodeError) else int(error is not None)
    sys.stderr.flush()
    os._exit(code)


@app.command()
def check(
    reconcile: Annotated[
        bool,
        typer.Option("--reconcile", help="Hold ledger, spool and destinations against each other instead."),
    ] = False,
    read_bytes: Annotated[
        bool, typer.Option("--bytes", help="With --reconcile: read every file and hold it against its digest.")
    ] = False,
    json: Json = False,
) -> None:
    """Check settings, ledger, disk, model digests and each destination: does it answer, and what would it be sent?

    Exit code 1 if anything is wrong.
    """
    from cxrnode.check import run_checks
    from cxrnode.cli.reconciling import reconcile as hold_against_each_other

    if reconcile:
        hold_against_each_other(read_bytes=read_bytes, json=json)
        return

    results = run_checks(settings())
    if json:
        say_json([_as_json(result) for result in results])
    else:
        _say_results(results)
    if not all(result.ok for result in results):
        raise typer.Exit(1)


def _say_results(results: Sequence[Result]) -> None:
    for result in results:
        say(f"{'ok  ' if result.ok else 'FAIL'}  {result.name}: {result.detail}")
        if result.hint and not result.ok:
            say(f"      {result.hint}")
    for result in results:
        if result.offer:
            _say_offer(result.offer)


def _say_offer(offer: Offer) -> None:
    say()
    rows = [(one.kind, one.sop_class, one.transfer_syntax or "not taken") for one in offer.objects]
    say_table(f"Sent to {offer.destination}", ["object", "SOP class", "transfer syntax"], rows)
    for sentence in offer.fallbacks:
        say(f"{offer.destination} {sentence}")


def _as_json(result: Result) -> dict[str, Any]:
    said = {"check": result.name, "ok": result.ok, "detail": result.detail, "hint": result.hint}
    return said if result.offer is None else {**said, **_offer_as_json(result.offer)}


def _offer_as_json(offer: Offer) -> dict[str, Any]:
    objects = [
        {
            "object": one.kind,
            "sop_class": one.sop_class,
            "sop_class_uid": one.sop_class_uid,
            "transfer_syntax": one.transfer_syntax,
            "transfer_syntax_uid": one.transfer_syntax_uid,
        }
        for one in offer.objects
    ]
    return {"sent": objects, "fallbacks": list(offer.fallbacks)}


@app.command()
def conformance() -> None:
    """Print the DICOM Conformance Statement of this version, with the IHE integration statement, as Markdown."""
    from cxrnode.conformance import statement

    say(statement().rstrip())
