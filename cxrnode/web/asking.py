"""What a node that runs says of itself: its health page, read from beside it.

Hides HTTP. Promises an answer within seconds, and that no proxy of the environment comes in between.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from urllib.error import HTTPError

from cxrnode.errors import Retryable
from cxrnode.web.dependency import Dependency

_SECONDS = 3.0
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_HINT = "see 'The port is taken' in docs/operations.md"


def ask(host: str, port: int, *, pid: int) -> Mapping[str, Dependency]:
    """Give how the process `pid` says that each thing is which it needs.

    Raises Retryable where nobody answers, or somebody else does.
    """
    host = _ANY.get(host, host)
    address = f"http://[{host}]:{port}/health" if ":" in host else f"http://{host}:{port}/health"
    try:
        said = json.loads(_read(address))
        found = {str(name): _dependency(one) for name, one in said["dependencies"].items()}
        of = said["pid"]
    except (OSError, HTTPException) as error:
        raise Retryable("it does not answer", operation="health page", subject=address, hint=_HINT) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Retryable("it is no node's", operation="health page", subject=address, hint=_HINT) from error
    if of != pid:
        raise Retryable("it is another node's", operation="health page", subject=address, hint=_HINT)
    return found


def _read(address: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=_SECONDS) as answer:
            return bytes(answer.read(1 << 20))
    except HTTPError as not_ready:
        with not_ready:
            return not_ready.read(1 << 20)


def _dependency(one: Mapping[str, object]) -> Dependency:
    return Dependency(ok=bool(one["ok"]), detail=str(one["detail"]), hint=str(one.get("hint", "")))
