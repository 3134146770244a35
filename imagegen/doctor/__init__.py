"""Checks of imagegen's surroundings: what is wrong, each with its fix."""

from imagegen.doctor.report import Finding, Level
from imagegen.doctor.runner import examine

__all__ = ["Finding", "Level", "examine"]
