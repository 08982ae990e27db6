"""What stands open to other machines, and what has to be said before it may.

Theory. On loopback nobody else comes in, and nothing has to be said. Anything that other machines can reach is closed
until the settings say otherwise in so many words: DICOM is encrypted, or said to go in the clear; the senders are
listed, or said to be anybody; the health page asks for no password, so that it is open has to be said, too. Each
problem here is one sentence that ends with what to write.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from enum import StrEnum


class Transport(StrEnum):
    """How DICOM goes over the network."""

    LOCAL = "local"
    """In the clear, and on loopback only."""
    TLS = "tls"
    """Both sides show a certificate (PS3.15 B.12)."""
    PLAIN = "plain"
    """In the clear, also to and from other machines."""


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only be this machine; a name other than localhost could be any."""
    try:
        address = ipaddress.ip_address(host.removeprefix("::ffff:"))
    except ValueError:
        return host.lower() == "localhost"
    return address.is_loopback


def unsafe_listener(*, host: str, transport: Transport, listed: bool, anyone: bool) -> Iterator[str]:
    """Give what is wrong with the port for DICOM. `listed`: AE titles or addresses are."""
    if is_loopback(host):
        return
    opened = f"node.host = {host!r} lets other machines in"
    if transport is Transport.LOCAL:
        yield (
            f"{opened}, and listener.transport is 'local': write listener.transport = \"tls\" and the section [tls], "
            'or "plain" where the network itself is protected'
        )
    if not listed and not anyone:
        yield (
            f"{opened}, and every one of them may call: name the senders in listener.calling_ae_titles or "
            "listener.addresses (better both), or write listener.anyone = true"
        )


def unsafe_destination(*, name: str, host: str, transport: Transport) -> Iterator[str]:
    """Give what is wrong with the way to a destination."""
    if transport is Transport.LOCAL and not is_loopback(host):
        yield (
            f"the destination {name!r} is another machine, {host}, and its transport is 'local': write "
            'transport = "tls" and the section [tls], or "plain" where the network itself is protected'
        )


def unsafe_page(*, host: str, anyone: bool) -> Iterator[str]:
    """Give what is wrong with the health page's address."""
    if not is_loopback(host) and not anyone:
        yield (
            f"web.host = {host!r} shows the health page, which asks for no password, to other machines: leave it on "
            '"127.0.0.1", or write web.anyone = true'
        )


def unbound_names(*, bound: bool, transport: Transport, demanded: bool) -> Iterator[str]:
    """Give what is wrong with AE titles that are bound to certificates where nobody shows one."""
    if bound and not (transport is Transport.TLS and demanded):
        yield (
            "listener.certificate_names binds AE titles to certificates that nobody has to show: write "
            'listener.transport = "tls" and client_certificates = "required", or leave the names out'
        )


def incomplete_tls(*, certificate: str, key: str, authorities: str, used_by: Iterable[str]) -> Iterator[str]:
    """Give what is missing of TLS. `used_by`: the settings that ask for it."""
    files = {"tls.certificate": certificate, "tls.key": key, "tls.authorities": authorities}
    missing = [name for name, file in files.items() if not file]
    users = ", ".join(used_by)
    if users and missing:
        yield f"TLS is asked for ({users}), and {', '.join(missing)} names no file: both sides show a certificate"
