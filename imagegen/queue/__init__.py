"""The worker's only way to the tables."""

from imagegen.queue.listener import Listener
from imagegen.queue.queue import Claim, Closed, DailyLimitError, Image, Left, Queue
from imagegen.queue.statements import statements

__all__ = ["Claim", "Closed", "DailyLimitError", "Image", "Left", "Listener", "Queue", "statements"]
