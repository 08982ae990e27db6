"""The audit trail: who brought, sent, saw, took back and removed what, as DICOM audit messages (PS3.15 A.5).

Hides XML, the daily files and syslog. Promises that what happened is in the file before the verb that tells it
returns, that a collector which cannot be reached delays nobody and loses nothing, and that audit messages, which name
patients on purpose, go to the audit's own files and to the collector of the settings, and nowhere else.
"""

from cxrnode.audit.peer import AuditedPeer
from cxrnode.audit.sweeping import AuditedSpool
from cxrnode.audit.syslog import HINT, Carrier, Collector, reach
from cxrnode.audit.trail import AuditTrail

__all__ = ["HINT", "AuditTrail", "AuditedPeer", "AuditedSpool", "Carrier", "Collector", "reach"]
