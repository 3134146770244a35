"""Checks of imagegen's surroundings. Each finding has its fix."""

from imagegen.doctor.report import Finding, Level
from imagegen.doctor.runner import examine

__all__ = ["Finding", "Level", "examine"]
