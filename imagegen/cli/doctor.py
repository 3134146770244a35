"""`imagegen doctor`: what is wrong, and the fix."""

import os
from collections import Counter

import click

from imagegen.cli.options import json_option, settings_options
from imagegen.cli.output import emit
from imagegen.cli.progress import TransientLine
from imagegen.text import plural, printable

COLOURS = {"ok": "green", "warning": "yellow", "wrong": "red"}
CHECK_WIDTH = 12


@click.command()
@json_option()
@settings_options()
def doctor(*, as_json: bool, **options: str | None) -> None:
    """Check all that can be wrong, and print the fix for each.

    Settings, database, permissions, Replicate's credentials and model, ports, folders and limits
    of this host. Nothing is changed and nothing is paid. Takes 20 s at most; exit code 1 when
    anything is wrong, 0 otherwise.

    Example: imagegen doctor
    """
    # Its imports take as long as all others together, and the help does not need them.
    from imagegen.doctor import examine  # noqa: PLC0415

    levels: Counter[str] = Counter(dict.fromkeys(COLOURS, 0))
    findings = []
    line = TransientLine()
    for finding in examine(os.environ, options, lambda check: line.show(f"waiting for {check}")):
        line.clear()
        levels[finding.level] += 1
        findings.append({
            "level": finding.level, "check": finding.check,
            "said": finding.message, "mend": finding.fix,
        })  # fmt: skip
        if not as_json:
            level = click.style(f"{finding.level:<8}", fg=COLOURS[finding.level])
            click.echo(f"{level} {finding.check:<{CHECK_WIDTH}} {printable(finding.message)}")
            if finding.fix:
                click.echo(f"{'':{CHECK_WIDTH + 10}}{printable(finding.fix)}")
    warnings = plural(levels["warning"], "warning")
    summary = f"\n{levels['ok']} ok, {warnings}, {levels['wrong']} wrong"
    emit({"findings": findings, **levels}, [summary], as_json=as_json)
    raise SystemExit(1 if levels["wrong"] else 0)
