"""What can be wrong with the surroundings of imagegen, each with its mend."""

from imagegen.doctor.examination import examine
from imagegen.doctor.findings import Finding, Level

__all__ = ["Finding", "Level", "examine"]
