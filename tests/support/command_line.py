"""A command as the command line runs it, within this process."""

from click.testing import CliRunner, Result

from imagegen.cli import cli
from imagegen.config.settings import all_settings

DATABASE_URL = "postgresql://user:pass%2Fword@host:5432/tokens"
TOKEN = "r8_0123456789"
ENOUGH = {"DATABASE_URL": DATABASE_URL, "REPLICATE_API_TOKEN": TOKEN}
USAGE, CONFIGURATION = 2, 78


def imagegen(*arguments: str, **environment: str) -> Result:
    """Run a command in an environment without any other setting."""
    unset: dict[str, str | None] = {spec.variable: None for spec in all_settings()}
    return CliRunner().invoke(cli, arguments, prog_name="imagegen", env=unset | environment)
