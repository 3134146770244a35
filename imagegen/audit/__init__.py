"""Compares Replicate's list of predictions with imagegen's ledger of them."""

from imagegen.audit.comparison import SQL, run, youngest_seconds
from imagegen.audit.result import FINDINGS_NAMED, Audit, Finding
from imagegen.audit.verdicts import UNEXPLAINED, Verdict

__all__ = [
    "FINDINGS_NAMED",
    "SQL",
    "UNEXPLAINED",
    "Audit",
    "Finding",
    "Verdict",
    "run",
    "youngest_seconds",
]
