"""THE LINE: received, kept, recorded, acknowledged; closed; run; delivered; committed.

Every step reads the ledger, does one thing through a port, and writes its end in one transaction with the next
step's beginning. Nothing here knows a library, a thread or a clock of its own, so the tests can kill it before and
after every port call; claiming is the only recovery.
"""

from __future__ import annotations

from collections.abc import Callable

from cxrnode.pipeline.adopting import Adopting, UnderWay
from cxrnode.pipeline.closing import Closing
from cxrnode.pipeline.composing import Composing
from cxrnode.pipeline.delivering import Delivering
from cxrnode.pipeline.plan import Plan
from cxrnode.pipeline.reception import Received, Reception
from cxrnode.pipeline.recoding import Comparing
from cxrnode.pipeline.running import Running, Seen
from cxrnode.pipeline.timekeeping import Timekeeping
from cxrnode.ports import Archive, Clock, Composer, Ledger, Peer, Predictor, Reader

__all__ = ["Line", "Plan"]


class Line:
    """The straight line over its ports. Safe to call from many threads: the ledger serialises."""

    def __init__(
        self,
        *,
        plan: Plan,
        archive: Archive,
        ledger: Ledger,
        reader: Reader,
        predictor: Predictor,
        composer: Composer,
        peer: Peer,
        clock: Clock,
        chance: Callable[[], float],
        seen: Seen | None = None,
        received: Received | None = None,
    ) -> None:
        """Compose the line. `chance` gives jitter in [0, 1); `seen` is told of each image's answers, `received` of
        each instance that came."""
        reception = Reception(archive=archive, ledger=ledger, reader=reader, clock=clock, received=received)
        under_way = UnderWay()
        adopting = Adopting(archive=archive, ledger=ledger, reader=reader, clock=clock, under_way=under_way)
        closing = Closing(plan=plan, ledger=ledger, clock=clock, still_sent=reception.still_sent)
        running = Running(
            plan=plan,
            archive=archive,
            ledger=ledger,
            predictor=predictor,
            composing=Composing(plan=plan, archive=archive, composer=composer, accepted=ledger.accepted),
            clock=clock,
            chance=chance,
            seen=seen,
        )
        delivering = Delivering(plan=plan, archive=archive, ledger=ledger, peer=peer, clock=clock, chance=chance)
        comparing = Comparing(
            plan=plan, archive=archive, ledger=ledger, predictor=predictor, clock=clock, chance=chance
        )
        self._adopting, self._timekeeping = adopting, Timekeeping(plan=plan, ledger=ledger, clock=clock)
        self.mind_clock = self._timekeeping.mind
        self.receive = under_way.watched(reception.receive)
        self.adopt = adopting.adopt
        self.association_ended = reception.association_ended
        self.compare_recoded = comparing.compare_recoded
        self.close_due = closing.close_due
        self.run_jobs = running.run_jobs
        self.deliver = delivering.deliver
        self.ask_capabilities = delivering.ask_capabilities
        self.ask_commitments = delivering.ask_commitments
        self.confirm = delivering.confirm

    def start(self) -> None:
        """Sweep what is unfinished, and see whether the clock was set back; before the node listens."""
        self._adopting.start()
        self._timekeeping.start()
