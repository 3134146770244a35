"""Rows that an adopted table may have and that nothing can be made of, or not at once.

`loosen` takes from the tables what keeps such rows out, and `ODD_ROWS` are one of each sort, with
what becomes of each. None of them may keep another token waiting, or end a worker.
"""

from dataclasses import dataclass
from enum import Enum, auto

from tests.support.processes import Site

FIRST_ODD_TOKEN = 9000
TOO_LARGE = 2**254
HUGE_CHARACTERS = 5_000_000

# Constraints that an application may never have had, and a trigger and a check of its own.
LOOSEN = """
ALTER TABLE tokens_s0 ALTER token_id TYPE numeric(78, 0), ALTER token_id DROP NOT NULL,
    ALTER generation_attempts DROP NOT NULL, ALTER status DROP NOT NULL,
    ALTER created_at DROP NOT NULL, ALTER author_id DROP NOT NULL,
    DROP CONSTRAINT tokens_s0_status_check, DROP CONSTRAINT tokens_s0_author_id_fkey,
    ADD COLUMN note text,
    ADD CONSTRAINT user_check CHECK (note <> 'checked' OR status <> 'generating');
CREATE FUNCTION user_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.note = 'guarded' THEN RAISE 'this token is reserved'; END IF;
    IF NEW.note = 'broken' THEN PERFORM no_such_function(); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER user_trigger BEFORE UPDATE ON tokens_s0
    FOR EACH ROW EXECUTE FUNCTION user_trigger();
"""


class Fate(Enum):
    """What becomes of the token."""

    IMAGE = auto()
    FAILED = auto()  # by a reason that its author can do something about
    SET_ASIDE = auto()  # it waits, and is named
    UNTOUCHED = auto()  # it had ended before


@dataclass(frozen=True)
class OddRow:
    """An odd token: SQL for the columns that differ from a mint's, and its author's prompt."""

    name: str
    fate: Fate
    columns: tuple[tuple[str, str], ...] = ()
    prompt: str = "'an odd picture'"
    reason: str = ""  # why it is set aside: a part of what log and doctor say


def _odd(name: str, fate: Fate, prompt: str = "", reason: str = "", **columns: str) -> OddRow:
    given = prompt or f"'the odd picture {name}'"
    return OddRow(name, fate, tuple(columns.items()), given, reason)


def _image(name: str, **columns: str) -> OddRow:
    return _odd(name, Fate.IMAGE, **columns)


def _set_aside(name: str, reason: str, **columns: str) -> OddRow:
    return _odd(name, Fate.SET_ASIDE, reason=reason, **columns)


NO_NUMBER = "token_id is NULL or no whole number of 64 bits"
ODD_ROWS = (
    _image("attempts missing", generation_attempts="NULL"),
    _image("attempts at the most", generation_attempts="2147483647"),
    _image("attempts at the least", generation_attempts="-2147483648"),
    _image("minted at infinity", created_at="'infinity'"),
    _image("minted at -infinity", created_at="'-infinity'"),
    _image("minted at no time", created_at="NULL"),
    _image("minted in the year 200000", created_at="'200000-01-01'"),
    _image("minted before Christ", created_at="'4000-01-01 BC'"),
    _odd("no prompt", Fate.FAILED, "NULL"),
    _odd("huge prompt", Fate.FAILED, f"repeat('mountain ', {HUGE_CHARACTERS // 9})"),
    _set_aside("token_id too large", NO_NUMBER, token_id=str(TOO_LARGE)),
    _set_aside("token_id not a number", NO_NUMBER, token_id="'NaN'"),
    _set_aside("token_id missing", NO_NUMBER, token_id="NULL"),
    _set_aside("status missing", "status is NULL", status="NULL"),
    _set_aside("status in capitals", "status differs in case", status="'DETECTED'"),
    _set_aside("not before 2999", "generate_after is", generate_after="'2999-01-01'"),
    _set_aside("author dangling", "its author is not", author_id="gen_random_uuid()"),
    _set_aside("author missing", "its author is not", author_id="NULL"),
    _set_aside("refused by a trigger", "this token is reserved", note="'guarded'"),
    _set_aside("trigger broken", "no_such_function", note="'broken'"),
    _set_aside("refused by a check", "user_check", note="'checked'"),
    _odd("failed at infinity", Fate.UNTOUCHED, status="'failed'", created_at="'infinity'"),
    _odd("failed at -infinity", Fate.UNTOUCHED, status="'failed'", created_at="'-infinity'"),
    _odd("failed at no time", Fate.UNTOUCHED, status="'failed'", created_at="NULL"),
    _odd("failed in 200000", Fate.UNTOUCHED, status="'failed'", created_at="'200000-01-01'"),
    _odd("failed BC", Fate.UNTOUCHED, status="'failed'", created_at="'4000-01-01 BC'"),
    _odd("failed, no attempts", Fate.UNTOUCHED, status="'failed'", generation_attempts="NULL"),
)


def loosen(site: Site) -> None:
    """Take the constraints away that keep odd rows out. Once for a site, before `insert`."""
    site.query(LOOSEN)


def insert(site: Site, *rows: OddRow) -> dict[str, str]:
    """Insert odd tokens, older than all others; return the ids of their rows by their names."""
    return {row.name: _insert(site, number, row) for number, row in enumerate(rows)}


def _insert(site: Site, number: int, row: OddRow) -> str:
    columns = {
        "token_id": str(FIRST_ODD_TOKEN + number),
        "author_id": "author.id",
        "created_at": "now() - interval '1 hour'",
    } | dict(row.columns)
    ((id_,),) = site.query(
        f"""WITH author AS (
                INSERT INTO authors (wallet_address, prompt_text)
                VALUES ('0xodd{number}', {row.prompt}) RETURNING id)
            INSERT INTO tokens_s0 ({", ".join(columns)})
            SELECT {", ".join(columns.values())} FROM author RETURNING id::text"""
    )
    return str(id_)


def remove(site: Site, ids: dict[str, str]) -> None:
    """Delete odd tokens."""
    site.query("DELETE FROM tokens_s0 WHERE id::text = ANY(%s)", list(ids.values()))


def statuses(site: Site, ids: dict[str, str]) -> dict[str, str | None]:
    """Return the status of each odd token by its name."""
    found = dict(site.query("SELECT id::text, status FROM tokens_s0"))
    return {name: found[id_] for name, id_ in ids.items()}
