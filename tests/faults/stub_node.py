"""`cxrnode serve` with a stub in place of the models: the whole program but torch, for faults by the thousand.

    python -m tests.faults.stub_node             # one node, as `cxrnode serve` runs it
    python -m tests.faults.stub_node --forks     # a node for each line on standard input; each is forked, so that it
                                                 # starts in a tenth of a second

With --forks a line `start LOG` is answered with the process number of a node that writes to LOG, and `wait PID` with
its exit code. Only the models are replaced, and in this process only: settings, ledger, spool, listener, bells, sender,
signals and exit codes are the program's own.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from pathlib import Path

import cxrnode.cli
import cxrnode.cli.daemon
import cxrnode.node.parts
import cxrnode.web.health
from cxrnode.errors import CxrnodeError
from cxrnode.settings import Settings
from tests.fakes.predictor import FakePredictor

MODELS = "cxrnode.node.parts.predictor_of"
"""What makes the node's models."""


class StubPredictor(FakePredictor):
    """What the node asks of its models beyond the port."""

    def trouble(self) -> CxrnodeError | None:
        """Never."""
        return None

    def pid(self) -> int | None:
        """There is no child."""
        return None


def stub(settings: Settings) -> StubPredictor:
    """Give the stub in their place."""
    return StubPredictor()


def serve() -> None:
    """Run one node to its end, in this process."""
    module, _, name = MODELS.rpartition(".")
    setattr(importlib.import_module(module), name, stub)
    sys.argv = ["cxrnode", "serve"]
    cxrnode.cli.main()


def fork_for_ever() -> None:
    """Answer the lines of standard input; end with it."""
    gc.freeze()
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        print(_forked(Path(rest)) if word == "start" else _code(int(rest)), flush=True)


def _code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _forked(log: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    nothing, out = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for handle, number in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(handle, number)
    code = 1
    try:
        serve()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - as the interpreter does, which does not come to its end here
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    fork_for_ever() if "--forks" in sys.argv else serve()
