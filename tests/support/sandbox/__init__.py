"""The sandbox for tests: it keeps a ledger, spoils answers, goes away and comes back."""

from imagegen.sandbox import DEFAULT_TOKEN
from tests.support.sandbox.client import SandboxClient
from tests.support.sandbox.faults import Fault
from tests.support.sandbox.ledger import Entry, Ledger
from tests.support.sandbox.sandbox import Sandbox
from tests.support.sandbox.scripts import PredictionScript, ReplyScript

__all__ = [
    "DEFAULT_TOKEN",
    "Entry",
    "Fault",
    "Ledger",
    "PredictionScript",
    "ReplyScript",
    "Sandbox",
    "SandboxClient",
]
