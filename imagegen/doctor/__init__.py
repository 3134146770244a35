"""What can be wrong with the surroundings of imagegen, each with its fix."""

from imagegen.doctor.report import Finding, Level
from imagegen.doctor.runner import examine

__all__ = ["Finding", "Level", "examine"]
