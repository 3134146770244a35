"""All HTTP to Replicate: JSON becomes values at this door, and here is told what they mean."""

from imagegen.replicate.client import Provider
from imagegen.replicate.http import Deadline
from imagegen.replicate.matching import Absent, Found, Undecidable
from imagegen.replicate.outcomes import (
    Accepted,
    Failed,
    Refused,
    Running,
    Succeeded,
    Unknown,
    Unseen,
)
from imagegen.replicate.replies import (
    Listed,
    NotSent,
    Prediction,
    Rejected,
    Reply,
    Unclear,
    sent_at,
)
from imagegen.replicate.request_budget import Budget
from imagegen.replicate.tls import tls_context

__all__ = [
    "Absent",
    "Accepted",
    "Budget",
    "Deadline",
    "Failed",
    "Found",
    "Listed",
    "NotSent",
    "Prediction",
    "Provider",
    "Refused",
    "Rejected",
    "Reply",
    "Running",
    "Succeeded",
    "Unclear",
    "Undecidable",
    "Unknown",
    "Unseen",
    "sent_at",
    "tls_context",
]
