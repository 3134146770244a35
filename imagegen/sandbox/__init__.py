"""A local stand-in for Replicate's API that behaves like the real one, faults included."""

from imagegen.sandbox.client import SandboxClient
from imagegen.sandbox.effects import Fate, Reply
from imagegen.sandbox.faults import Fault, Faults
from imagegen.sandbox.ledger import Entry, Ledger
from imagegen.sandbox.predictions import Prediction, Predictions
from imagegen.sandbox.server import DEFAULT_TOKEN, Sandbox

__all__ = [
    "DEFAULT_TOKEN",
    "Entry",
    "Fate",
    "Fault",
    "Faults",
    "Ledger",
    "Prediction",
    "Predictions",
    "Reply",
    "Sandbox",
    "SandboxClient",
]
