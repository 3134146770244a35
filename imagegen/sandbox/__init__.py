"""A local stand-in for Replicate's API that behaves like the real one."""

from imagegen.sandbox.api import DEFAULT_TOKEN
from imagegen.sandbox.faults import Fault
from imagegen.sandbox.server import Sandbox

__all__ = ["DEFAULT_TOKEN", "Fault", "Sandbox"]
