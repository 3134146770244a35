"""`imagegen doctor`: what is wrong, and the mend."""

import json
import os
from collections import Counter

import click

from imagegen.cli.options import settings_options
from imagegen.cli.output import harmless
from imagegen.cli.progress import PassingLine

COLOURS = {"ok": "green", "warning": "yellow", "wrong": "red"}
CHECK_WIDTH = 12


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@settings_options()
def doctor(*, as_json: bool, **options: str | None) -> None:
    """Look for all that can be wrong, and tell the mend of each.

    Settings, database, permissions, Replicate's credentials and model, ports, folders and limits
    of this host. Nothing is changed and nothing is paid. Takes 20 s at most; exit code 1 when
    anything is wrong, 0 otherwise.

    Example: imagegen doctor
    """
    from imagegen.doctor import examine  # noqa: PLC0415

    levels: Counter[str] = Counter(dict.fromkeys(COLOURS, 0))
    found = []
    line = PassingLine()
    for finding in examine(os.environ, options, lambda check: line.show(f"waiting for {check}")):
        line.wipe()
        levels[finding.level] += 1
        said = {"said": finding.message, "mend": finding.fix}
        found.append({"level": finding.level, "check": finding.check, **said})
        if not as_json:
            level = click.style(f"{finding.level:<8}", fg=COLOURS[finding.level])
            click.echo(f"{level} {finding.check:<{CHECK_WIDTH}} {harmless(finding.message)}")
            if finding.fix:
                click.echo(f"{'':{CHECK_WIDTH + 10}}{harmless(finding.fix)}")
    if as_json:
        click.echo(json.dumps({"findings": found, **levels}, indent=2))
    else:
        warnings = _counted(levels["warning"], "warning")
        click.echo(f"\n{levels['ok']} ok, {warnings}, {levels['wrong']} wrong")
    raise SystemExit(1 if levels["wrong"] else 0)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
