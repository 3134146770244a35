"""Errors and exit codes that several packages share."""

CONFIGURATION = 78  # exit code EX_CONFIG of sysexits.h: nobody need try again before it is mended


class CannotStartError(Exception):
    """Something that the program needs is not there; the message names it and the mend."""

    def __init__(self, said: str, mend: str) -> None:
        super().__init__(f"{said}: {mend}")
        self.said = said
        self.mend = mend
