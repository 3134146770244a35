"""The database connection of a command, with errors of one line."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg

from imagegen import database
from imagegen.cli.errors import CommandError
from imagegen.cli.options import read_settings
from imagegen.cli.progress import waiting
from imagegen.config import url_secrets
from imagegen.errors import CannotStartError
from imagegen.redaction import Redactor
from imagegen.text import one_line


def read_database_url(options: dict[str, Any]) -> str:
    return str(read_settings(options, "database_url")["database_url"])


@contextmanager
def one_line_errors(database_url: str) -> Iterator[None]:
    """Turn errors that the user can fix into one line without the password, and exit code 1."""
    try:
        yield
    except (database.NotMigratedError, CannotStartError) as error:
        raise CommandError(error) from None
    except UnicodeEncodeError:
        raise CommandError("an argument holds bytes that are no text") from None
    except psycopg.Error as error:
        reason = Redactor(url_secrets(database_url))(one_line(error))
        raise CommandError(f"cannot use the database of DATABASE_URL: {reason}") from None


@contextmanager
def connected(database_url: str, application_name: str) -> Iterator[database.Connection]:
    """Yield a connection to a database at the needed revision. Errors are one line."""
    with one_line_errors(database_url), ExitStack() as stack:
        with waiting():
            connection = stack.enter_context(database.connect(database_url, application_name))
            database.check_revision(connection)
        yield connection
