"""The specification of a setting: its names, its help, and how its text is found and parsed."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Generic, TypeVar, cast

from imagegen.config.secret_files import SecretFileError, read_secret

Environment = Mapping[str, str]
Options = Mapping[str, str | None]  # texts by field name
T = TypeVar("T")


@dataclass(frozen=True)
class Spec(Generic[T]):
    """The names of a setting, its help, and the parser of its text."""

    variable: str
    parse: Callable[[str], T]
    help: str
    default: str | None = None  # text, parsed like a given value
    _: KW_ONLY
    optional: bool = False  # it may have no value, which is None
    secret: bool = False
    choices: tuple[str, ...] = ()  # offered by a shell's completion
    name: str = ""  # of its field in `Settings`

    @property
    def option(self) -> str:
        return "--" + self.name.removesuffix("_seconds").replace("_", "-")

    @property
    def file_variable(self) -> str | None:
        """The variable that names a file with its text, if it is a secret."""
        return f"{self.variable}_FILE" if self.secret else None

    @property
    def placeholder(self) -> T | str | None:
        """A value for a `Settings` object in which this setting is not read."""
        if self.default is not None:
            return self.parse(self.default)
        return None if self.optional else ""

    def lookup(self, environment: Environment, options: Options) -> tuple[str | None, str]:
        """Return the text of the setting (None: it has none) and its source: `option`, `file`,
        `environment` or `default`. Raises SecretFileError."""
        if (text := options.get(self.name)) is not None:
            return text, "option"
        # An empty variable counts as not set, as in an env file with `NAME=`.
        text = environment.get(self.variable)
        if path := environment.get(self.file_variable or ""):
            if text:
                raise SecretFileError(f"and {self.variable} are both set: keep one of them")
            return read_secret(path), "file"
        if text:
            return text, "environment"
        return self.default, "default"


@dataclass(frozen=True)
class Problem:
    """A setting that is missing or wrong."""

    name: str
    source: str  # the option, the variable, or the variable that names its file
    message: str

    def __str__(self) -> str:
        return f"{self.source} {self.message}"


def setting(spec: Spec[T]) -> T:
    """Return a field of `Settings` with this spec."""
    return cast(T, field(metadata={"spec": spec}))
