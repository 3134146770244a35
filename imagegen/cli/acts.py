"""How commands show the acts of operators, and the option for the reason of one."""

from collections.abc import Callable, Iterable, Iterator

import click

from imagegen.cli.errors import MisusedError
from imagegen.operator.acts import Act

Command = Callable[..., None]
REASON_CHARACTERS = 500


def reason_option(*, required: bool = False) -> Callable[[Command], Command]:
    """Add the option --reason: a text for the record."""

    def parse(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
        if value is None:
            if required:
                raise MisusedError('--reason is missing: say why, as --reason "the model changed"')
            return None
        if not 0 < len(text := value.strip()) <= REASON_CHARACTERS:
            raise MisusedError(f"--reason must be a text of 1 to {REASON_CHARACTERS} characters")
        return text

    return click.option("--reason", metavar="TEXT", callback=parse, help="Why, for the record.")


def act_lines(shown: Iterable[Act]) -> Iterator[str]:
    """Yield a line for each act, and a title above the first."""
    for number, act in enumerate(shown):
        if not number:
            yield click.style("\noperators", bold=True)
        yield f"  {act}"
