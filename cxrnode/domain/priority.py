"""What is urgent (STAT).

Hides how a rule matches. Promises two classes and no more: what is urgent goes before what is not, and how the rest
still gets its turn is the ledger's (ledger/turns.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from cxrnode.domain.study import Instance

ORDINARY, URGENT = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """One rule of what is urgent: all that it states has to hold of one image.

    The patterns are shell patterns. `asked`: the sender has to have said so, by Priority (0000,0700) HIGH in its
    C-STORE request (PS3.7 9.3.1).
    """

    calling_ae: str = "*"
    called_ae: str = "*"
    description: str = "*"
    """Of what the header says of study, series, protocol and processing in free words; in either case."""
    asked: bool = False

    def matches(self, member: Instance) -> bool:
        """Tell whether this image makes its study urgent."""
        sender = member.sender
        return (
            (member.priority == URGENT or not self.asked)
            and fnmatchcase(sender.calling_ae, self.calling_ae)
            and fnmatchcase(sender.called_ae, self.called_ae)
            and fnmatchcase(member.facts.words, self.description.upper())
        )


def priority_of(members: Iterable[Instance], rules: Sequence[Stat]) -> int:
    """Give the priority of a study with these images: urgent where one rule matches one of them."""
    return URGENT if any(rule.matches(member) for member in members for rule in rules) else ORDINARY
