"""Errors, and an exit code, that several packages share."""

CONFIGURATION = 78  # EX_CONFIG of sysexits.h: a restart fails too until a setting is changed


class ImagegenError(Exception):
    """An error that a command prints in one line: the problem, and its fix if one is known."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(f"{message}: {fix}" if fix else message)
        self.message = message
        self.fix = fix


class CannotStartError(ImagegenError):
    """Something that the program needs is missing or unusable."""
