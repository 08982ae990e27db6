"""Real peers as child processes on free loopback ports: Orthanc and DCMTK.

Hides programs, configuration files and waiting until a port answers. Promises that what was started is ended with its
`with`, and `Missing` with the reason where a program is not installed. pynetdicom installs console scripts of DCMTK's
names, so programs are looked for in the system's folders only.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_SECONDS = 20.0
RUN_SECONDS = 60.0

_PLUGIN_FOLDERS = (Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc/plugins"))
_given: set[int] = set()
_PLUGINS = ("libOrthancDicomWeb.so", "libOrthancGdcm.so")


class Missing(Exception):
    """A program is not installed."""


def program(name: str) -> str:
    """Give the path of an installed program. Missing where there is none."""
    found = shutil.which(name, path=SYSTEM_FOLDERS)
    if found is None:
        raise Missing(f"{name} is not installed: see .ci/run for the packages")
    return found


def free_port() -> int:
    """Give a port that nobody listens on now, from below those that outgoing connections are given: it stays free.

    No port is given twice: two programs may be started on what was asked for before either listens.
    """
    while True:
        with socket.socket() as probe, suppress(OSError):
            port = random.randrange(20_000, 32_000)
            probe.bind((LOOPBACK, port))
            if port not in _given:
                _given.add(port)
                return port


def run(name: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; `check` fails where its exit status is not 0."""
    command = [program(name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, env=_environment(), check=False)
    if check and done.returncode:
        raise AssertionError(f"{name} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done


@contextmanager
def started(name: str, *arguments: object, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server for the time of the `with`, from when its port answers."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [program(name), *map(str, arguments)], stdout=out, stderr=subprocess.STDOUT, env=_environment()
        )
        try:
            _wait_for_port(process, port, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(1)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc."""

    ae_title: str
    port: int
    http_port: int
    pid: int = 0

    def ask(self, path: str, body: object = None, method: str = "") -> Any:
        """Call the REST interface; give its JSON, or its bytes where that is none."""
        text = None if body is None else json.dumps(body).encode()
        url = f"http://{LOOPBACK}:{self.http_port}{path}"
        request = urllib.request.Request(url, data=text, method=method or ("POST" if text else "GET"))
        with urllib.request.urlopen(request, timeout=RUN_SECONDS) as answer:
            content = answer.read()
        try:
            return json.loads(content)
        except ValueError:
            return content

    def knows(self, ae_title: str, port: int, **more: object) -> None:
        """Register an AE on loopback, which may ask for storage commitment and gets its reports; `more` settings."""
        allowed = ("Echo", "Store", "Find", "Move", "Get", "StorageCommitment", "NAction", "NEventReport")
        modality = {"AET": ae_title, "Host": LOOPBACK, "Port": port, "Manufacturer": "Generic"}
        modality |= {f"Allow{service}": True for service in allowed} | more
        self.ask(f"/modalities/{ae_title.lower()}", modality, "PUT")

    def instances(self) -> dict[str, str]:
        """Give Orthanc's own identifier of each instance it holds, by SOP Instance UID."""
        return {
            self.ask(f"/instances/{number}")["MainDicomTags"]["SOPInstanceUID"]: number
            for number in self.ask("/instances")
        }

    def file(self, uid: str) -> bytes:
        """Give the DICOM file that Orthanc holds under a SOP Instance UID."""
        content = self.ask(f"/instances/{self.instances()[uid]}/file")
        assert isinstance(content, bytes)
        return content


@contextmanager
def start_orthanc(
    folder: Path, *, ae_title: str = "PACS", ports: tuple[int, int] | None = None, **settings: object
) -> Iterator[Orthanc]:
    """Run Orthanc with its database in `folder`; `settings` add to its configuration or replace it.

    `ports`: for DICOM and HTTP, free ones where they are not given.
    """
    port, http_port = ports or (free_port(), free_port())
    orthanc = Orthanc(ae_title=ae_title, port=port, http_port=http_port)
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "orthanc.json"
    configuration.write_text(json.dumps(_configuration(orthanc, folder) | settings))
    with started("Orthanc", configuration, port=orthanc.http_port, log=folder / "orthanc.log") as process:
        _wait_for_http(orthanc)
        yield replace(orthanc, pid=process.pid)


@contextmanager
def start_storescp(folder: Path, *flags: str, ae_title: str = "STORESCP", port: int = 0) -> Iterator[int]:
    """Run DCMTK's storescp, which writes into `folder`; give its port, a free one where none is given."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    accepting = () if any(flag.startswith(("+x", "-xf")) for flag in flags) else ("+xa",)
    arguments = [*accepting, *flags, "+B", "-aet", ae_title, "-od", folder, port]
    with started("storescp", *arguments, port=port, log=folder.parent / f"storescp-{port}.log"):
        yield port


@contextmanager
def storescp_taking(folder: Path, classes: Sequence[str], *, ae_title: str = "STORESCP") -> Iterator[int]:
    """Run storescp that takes only these SOP classes, uncompressed, and C-ECHO; give its port."""
    profile = folder.parent / f"{folder.name}.cfg"
    profile.write_text(_profile(["1.2.840.10008.1.1", *classes]))
    with start_storescp(folder, "-xf", str(profile), "Only", ae_title=ae_title) as port:
        yield port


def _profile(classes: Sequence[str]) -> str:
    """Give DCMTK's configuration of what an association accepts, with one profile, `Only`."""
    accepted = "".join(f"PresentationContext{n} = {uid}\\Plain\n" for n, uid in enumerate(classes, 1))
    return (
        "[[TransferSyntaxes]]\n[Plain]\n"
        "TransferSyntax1 = LittleEndianExplicit\nTransferSyntax2 = LittleEndianImplicit\n"
        f"[[PresentationContexts]]\n[Accepted]\n{accepted}"
        "[[Profiles]]\n[Only]\nPresentationContexts = Accepted\n"
    )


def _configuration(orthanc: Orthanc, folder: Path) -> dict[str, object]:
    plugins = [str(place / name) for place in _PLUGIN_FOLDERS for name in _PLUGINS if (place / name).exists()]
    return {
        "Name": "cxrnode-tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": plugins,
        "HttpPort": orthanc.http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": orthanc.ae_title,
        "DicomPort": orthanc.port,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowFind": True,
        "OverwriteInstances": False,
        "StableAge": 2,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }


def _environment() -> dict[str, str]:
    # Without it Nagle's algorithm waits on every answer of DCMTK and Orthanc.
    return {**os.environ, "TCP_NODELAY": "1"}


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex((LOOPBACK, port)) == 0:
                return
        _pause(process)
    raise AssertionError(f"nobody answers on port {port}: {log.read_text(errors='replace')[-2000:]}")


def _wait_for_http(orthanc: Orthanc) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            orthanc.ask("/system")
            return
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise


def _pause(process: subprocess.Popen[bytes], seconds: float = 0.05) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return
