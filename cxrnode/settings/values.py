"""What a single setting may be.

Hides how pydantic is told. Promises that a value which passes is of use: a title, a UID, a list without doubles.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from cxrnode.domain.capability import Kind, ReportClass
from cxrnode.domain.identity import ae_title, is_uid

T = TypeVar("T")


def _checked_uid(text: str) -> str:
    if not is_uid(text):
        raise ValueError(f"{text!r} is no UID")
    return text


def _checked_host(text: str) -> str:
    """What `socket` makes of a name before it asks anybody; what it cannot make anything of is no OSError there."""
    try:
        text.encode("idna")
    except UnicodeError as error:
        raise ValueError(f"{text[:100]!r} is no host name or address") from error
    if not text.isprintable():
        raise ValueError(f"{text[:100]!r} is no host name or address")
    return text


def _checked_object(name: object) -> object:
    if name == Kind.REJECTION:
        raise ValueError("a rejection note goes with what it takes back: see rejection_notes")
    wishes = [str(kind) for kind in Kind if kind is not Kind.REJECTION]
    if name not in wishes:
        raise ValueError(f"{name!r} is none of {', '.join(wishes)}")
    return name


def _checked_list(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        raise ValueError("the list is empty; without it the default holds")
    twice = [str(value) for value in dict.fromkeys(values) if values.count(value) > 1]
    if twice:
        raise ValueError(f"listed twice: {', '.join(twice)}")
    return values


Wishes = Annotated[tuple[Annotated[Kind, BeforeValidator(_checked_object)], ...], AfterValidator(_checked_list)]
ReportClasses = Annotated[tuple[ReportClass, ...], AfterValidator(_checked_list)]
Title = Annotated[str, AfterValidator(ae_title)]
Host = Annotated[str, AfterValidator(_checked_host)]
Uid = Annotated[str, AfterValidator(_checked_uid)]
Port = Annotated[int, Field(ge=0, le=65535)]
BundleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Seconds = Annotated[float, Field(gt=0)]
Network = IPv4Network | IPv6Network
