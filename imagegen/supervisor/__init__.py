"""Processes, not tokens: forks the exporter and the workers, watches them, stops them."""

from imagegen.supervisor.child import ChildContext
from imagegen.supervisor.forking import dies_with_this_process
from imagegen.supervisor.supervisor import Supervisor

__all__ = ["ChildContext", "Supervisor", "dies_with_this_process"]
