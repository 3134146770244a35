"""What the commands show of what operators have asked for."""

from collections.abc import Callable, Iterable, Iterator

import click

from imagegen.cli.errors import MisusedError
from imagegen.database import acts
from imagegen.operator.acts import Act
from imagegen.text import printable

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


def act_line(act: Act) -> str:
    """Return an act in one line: when, who, what and why."""
    what = act.act if act.token_id is None else f"{act.act} token {act.token_id}"
    details = ", ".join(f"{name} {value}" for name, value in (act.details or {}).items())
    parts = [f"{acts.moment(act.at)}  {act.who}  {what}", details]
    parts += [f"until {acts.moment(act.until)}"] if act.until else []
    why = f": {act.reason}" if act.reason else ""
    return printable(", ".join(filter(None, parts)) + why)


def act_lines(shown: Iterable[Act]) -> Iterator[str]:
    """Yield a line for each act, and a title above the first."""
    for number, act in enumerate(shown):
        if not number:
            yield click.style("\noperators", bold=True)
        yield f"  {act_line(act)}"
