"""One worker process: claims tokens and brings each to its image."""

from imagegen.worker.worker import Worker

__all__ = ["Worker"]
