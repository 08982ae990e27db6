"""Failures, sorted by what happens next.

The class of an error is the decision about it: answer the sender, end the job with a reason, try again, call
the operator, or stop. Adapters turn their library's exceptions into these at their border and keep the cause.

No error carries a patient's data: `subject` is a UID, a path below our own folders, a setting or an AE title.
"""

from __future__ import annotations


class CxrnodeError(Exception):
    """Something went wrong in cxrnode."""

    def __init__(self, happened: str = "", *, operation: str = "", subject: str = "", hint: str = "") -> None:
        """Keep what happened, during which operation, to which object, and what to do about it.

        The class's docstring is the message where `happened` is not given.
        """
        self.happened = happened or (type(self).__doc__ or "").strip().splitlines()[0]
        self.operation = operation
        self.subject = subject
        self.hint = hint
        super().__init__(self.happened)

    def __str__(self) -> str:
        where = " ".join(part for part in (self.operation, self.subject) if part)
        text = f"{where}: {self.happened}" if where else self.happened
        return f"{text} ({self.hint})" if self.hint else text


class Refused(CxrnodeError):
    """The sender was refused."""

    def __init__(
        self, happened: str = "", *, status: int, operation: str = "", subject: str = "", hint: str = ""
    ) -> None:
        """Carry the DIMSE status that the sender gets (PS3.7 Annex C, PS3.4 B.2.3)."""
        super().__init__(happened, operation=operation, subject=subject, hint=hint)
        self.status = status


class OutOfSpace(Refused):
    """The disk is under its floor of free space."""

    def __init__(self, happened: str = "", *, operation: str = "", subject: str = "", hint: str = "") -> None:
        """Answer with 0xA700, Out of Resources."""
        super().__init__(happened, status=0xA700, operation=operation, subject=subject, hint=hint)


class Unsuitable(CxrnodeError):
    """This image is not one a model may look at."""

    def __init__(
        self, happened: str = "", *, code: str, operation: str = "", subject: str = "", hint: str = ""
    ) -> None:
        """Carry the code of the reason, a key of `cxrnode.domain.selection.REASONS`."""
        super().__init__(happened, operation=operation, subject=subject, hint=hint)
        self.code = code


class Retryable(CxrnodeError):
    """It did not work this time; trying again later may."""


class AssociationLost(Retryable):
    """The peer ended the association, or none could be made."""


class ChildLost(Retryable):
    """The child process that runs the models ended before it answered."""


class Stopping(Retryable):
    """The node is stopping; it goes on with this when it is started again."""


class LeaseLost(Retryable):
    """The lease ran out and somebody else has the work; this attempt's result is dropped."""


class NeedsOperator(CxrnodeError):
    """An operator has to look at this before it can go on."""


class ClassNotAccepted(NeedsOperator):
    """The destination does not take this class of object; another one may go in its place."""


class Fatal(CxrnodeError):
    """The node cannot run like this."""


class SettingsInvalid(Fatal):
    """The settings do not make sense."""


class DeviceMissing(SettingsInvalid):
    """The device that the settings name is not there."""


class LedgerDamaged(Fatal):
    """The ledger cannot be read."""


class ModelAltered(Fatal):
    """A model's files are not the ones its digest names."""


class AlreadyRunning(Fatal):
    """Another node holds this state folder."""
