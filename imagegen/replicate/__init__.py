"""All HTTP to Replicate. JSON becomes values here, and `outcomes` says what a value means."""

from imagegen.replicate.client import ReplicateClient
from imagegen.replicate.http import Deadline, TooLongError, boottime, chunks, read_capped
from imagegen.replicate.images import DATA, find_images, image_in
from imagegen.replicate.list_page import Since
from imagegen.replicate.listing import ENDLESS_LIST, Listing
from imagegen.replicate.marker import Marker
from imagegen.replicate.matching import Absent, Expired, Found, Request
from imagegen.replicate.outcomes import (
    Accepted,
    Ambiguous,
    Failed,
    PollFailed,
    Refused,
    Running,
    Succeeded,
)
from imagegen.replicate.proxy import https_proxy, is_proxied
from imagegen.replicate.replies import (
    Limit,
    Listed,
    NoAnswer,
    NotSent,
    Page,
    Prediction,
    Rejected,
    Reply,
    sent_at,
)
from imagegen.replicate.request_budget import BUDGET_BURST_SECONDS, RequestBudget
from imagegen.replicate.shared_numbers import Number, SharedNumbers
from imagegen.replicate.tls import tls_context

__all__ = [
    "BUDGET_BURST_SECONDS",
    "DATA",
    "ENDLESS_LIST",
    "Absent",
    "Accepted",
    "Ambiguous",
    "Deadline",
    "Expired",
    "Failed",
    "Found",
    "Limit",
    "Listed",
    "Listing",
    "Marker",
    "NoAnswer",
    "NotSent",
    "Number",
    "Page",
    "PollFailed",
    "Prediction",
    "Refused",
    "Rejected",
    "ReplicateClient",
    "Reply",
    "Request",
    "RequestBudget",
    "Running",
    "SharedNumbers",
    "Since",
    "Succeeded",
    "TooLongError",
    "boottime",
    "chunks",
    "find_images",
    "https_proxy",
    "image_in",
    "is_proxied",
    "read_capped",
    "sent_at",
    "tls_context",
]
