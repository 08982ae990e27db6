"""The inspection before sending: every object is looked at once more, as the file that it is kept as.

Hides the rules. Promises to know nothing of how an object was composed, and to give an objection, without patient data,
for whatever is not as the standard, the study's sources and the other objects say that it must be.
"""

from cxrnode.evidence.inspection.inspector import Inspected, Inspector, inspect

__all__ = ["Inspected", "Inspector", "inspect"]
