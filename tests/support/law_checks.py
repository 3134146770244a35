"""The laws of imagegen/ARCHITECTURE.md, asked of the tables and of the fake Replicate."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import pytest
from psycopg.rows import namedtuple_row

from imagegen.database.connection import Connection
from imagegen.failures import Kind, Reason
from imagegen.queue.queue import UNPROVEN_KINDS
from tests.support import earlier_state
from tests.support.fake_replicate import FakeReplicate, Fate, Made, Post
from tests.support.judge import INCONSISTENT
from tests.support.stepwise_worker import FALLBACK, Work, Worker

MAX_ATTEMPTS, MOST_PREDICTIONS = 3, 20
GIVE_UP_AFTER_SECONDS = 86_400.0
# No other attempt can pass.
HOPELESS = """
    SELECT * FROM generations WHERE token_id = %s AND id > %s AND (
        error_kind IN ('permanent', 'invalid_prompt', 'unresolved')
        OR error_kind = 'content_policy' AND fallback)"""


class LawChecks:
    """Each method raises AssertionError where a law is broken, or says how things stand."""

    def __init__(self, connection: Connection, patch: pytest.MonkeyPatch) -> None:
        self._connection = connection
        self.replicate = FakeReplicate(self._accepts, self._may_look_at, patch)
        self.replace_lost = False
        self.passed_seconds = 0.0
        self._sent: set[int] = set()
        # By token: after which generation, and while who was at work.
        self._deleted: dict[int, tuple[int, set[Work | None]]] = {}
        # By token: what was before its last reset.
        self._attempts_before: Counter[int] = Counter()
        self._made_before: Counter[int] = Counter()
        self._last_before: Counter[int] = Counter()
        self._reset: set[int] = set()
        # What the tables had forgotten when they went back: who was at work, and the book then.
        self._left_behind: set[Work | None] = set()
        self._saved: dict[str, Any] = {}

    def query(self, sql: str, *values: object) -> list[Any]:
        cursor = self._connection.cursor(row_factory=namedtuple_row)
        cursor.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else []

    # What the operator does.

    def tokens(self) -> list[int]:
        """First those with an open generation."""
        rows = self.query(
            """SELECT t.token_id FROM tokens_s0 t
               LEFT JOIN generations g ON g.token_id = t.token_id AND g.state = 'open'
               ORDER BY g.id IS NULL, t.token_id"""
        )
        return [row.token_id for row in rows]

    def deleted(self, token_id: int, at_work: set[Work | None]) -> None:
        self._deleted[token_id] = self._last_generation(), at_work

    def reset(self, token_id: int) -> None:
        """Another image may be paid for, unless there may be one on its way."""
        made = self.replicate.of_token(token_id)
        if not self.open_generations()[token_id]:
            for each in made:
                each.written_off = True
        self._reset.add(token_id)
        self._last_before[token_id] = self._last_generation()
        self._made_before[token_id] = len(made)
        self._attempts_before[token_id] = self._attempts()[token_id]

    # What the database does.

    def save(self) -> None:
        earlier_state.save(self.query)
        of_the_tables = ("_deleted", "_attempts_before", "_made_before", "_last_before", "_reset")
        self._saved = {name: copy(getattr(self, name)) for name in of_the_tables}

    def go_back(self, at_work: set[Work | None]) -> None:
        earlier_state.go_back(self.query)
        vars(self).update({name: copy(value) for name, value in self._saved.items()})
        self._left_behind |= at_work
        # The same seed may be sent again if no image came of it.
        self._sent = {made.seed for made in self.replicate.made.values() if made.has_image}

    def _last_generation(self) -> int:
        return int(self.query("SELECT coalesce(max(id), 0) AS id FROM generations")[0].id)

    # At every request.

    def _accepts(self, prompt: str, seed: int) -> int:
        """Judge a POST as Replicate gets it; returns its token."""
        rows = self.query(
            """SELECT id, token_id FROM generations
               WHERE prompt = %s AND seed = %s AND requested_at IS NOT NULL""",
            prompt, seed,
        )  # fmt: skip
        work = threading.current_thread()
        if not rows and work in self._left_behind:
            assert isinstance(work, Work)
            return self._pays_once(work.claim.token_id)
        assert len(rows) == 1, f"law 1: sent before it was written, with seed {seed}"
        token_id: int = rows[0].token_id
        assert seed not in self._sent, f"law 2: sent twice for token {token_id}"
        self._sent.add(seed)
        if token_id in self._deleted:
            last, at_work = self._deleted[token_id]
            was_on_its_way = rows[0].id <= last and work in at_work
            assert was_on_its_way, f"nobody waits for token {token_id}"
        in_vain = self.query(HOPELESS, token_id, self._last_before[token_id])
        assert not in_vain, f"tried again in vain: {in_vain}"
        return self._pays_once(token_id)

    def _pays_once(self, token_id: int) -> int:
        for made in self.replicate.of_token(token_id):
            known = self._is_committed(made.id)
            again = made.forbids_another(known=known, replace_lost=self.replace_lost)
            assert not again, f"a second payment, where there is {made}"
        return token_id

    def _may_look_at(self, prediction_id: str) -> bool:
        is_left_behind = threading.current_thread() in self._left_behind
        return is_left_behind or self._is_committed(prediction_id)

    def _is_committed(self, prediction_id: str) -> bool:
        sql = "SELECT id FROM generations WHERE prediction_id = %s"
        return bool(self.query(sql, prediction_id))

    # At every step.

    @contextmanager
    def fenced(self, worker: Worker, work: Work) -> Iterator[None]:
        """Whose lease is lost changes nothing (law 4)."""
        sql = "SELECT id FROM generations WHERE token_id = %s AND worker = %s AND state = 'open'"
        is_held = self.query(sql, work.claim.token_id, worker.name)
        before = None if is_held else self.rows()
        yield
        assert before is None or before == self.rows(), f"law 4: {worker.name} changed {before}"

    def leased(self) -> set[int]:
        """Generations that somebody holds, and not just for a moment."""
        rows = self.query(
            """SELECT id FROM generations
               WHERE state = 'open' AND lease_until > now() + interval '3 seconds'"""
        )
        return {row.id for row in rows}

    def rows(self) -> list[Any]:
        """Everything, as text."""
        return self.query(
            """SELECT g::text FROM generations g UNION ALL
               SELECT t::text FROM tokens_s0 t ORDER BY 1"""
        )

    def one_generation_is_open(self) -> None:
        assert max(self.open_generations().values(), default=0) <= 1

    def the_tables_agree(self) -> None:
        """But for what a reset left, until it is mended."""
        rows = [row for row in self.query(INCONSISTENT) if row.token_id not in self._reset]
        assert not rows, f"law 5: {rows}"

    def an_attempt_is_a_prediction_that_ran(self) -> None:
        """What is refused, or never ran, costs nothing; three are the most, and twenty
        predictions."""
        ended = self._attempts() - self._attempts_before
        for row in self.query("SELECT token_id, generation_attempts FROM tokens_s0"):
            attempts = min(ended[row.token_id], MAX_ATTEMPTS)
            assert row.generation_attempts <= attempts, f"law 3: {row}"
            made = self.replicate.of_token(row.token_id)[self._made_before[row.token_id] :]
            paid = [each for each in made if self._costs_an_attempt(each)]
            assert len(paid) <= MOST_PREDICTIONS, f"law 3: {paid}"

    def every_image_is_that_of_its_token(self) -> None:
        unknown = self.query(
            "SELECT * FROM generations WHERE state = 'succeeded' AND prediction_id IS NULL"
        )
        assert not unknown, f"an image of nowhere: {unknown}"
        for row in self.query("SELECT * FROM generations WHERE prediction_id IS NOT NULL"):
            made = self.replicate.made[row.prediction_id]
            assert made.token_id == row.token_id, f"{row}: {made}"
            # What tables forgot may be found by a generation before it.
            assert made.seed == row.seed or self._left_behind, f"{row}: {made}"
            if row.image_url:
                assert made.fate is Fate.IMAGE and made.id in row.image_url, f"{row}: {made}"

    def open_generations(self) -> Counter[int]:
        """How many, by token."""
        rows = self.query("SELECT token_id FROM generations WHERE state = 'open'")
        return Counter(row.token_id for row in rows)

    def _attempts(self) -> Counter[int]:
        """How many have ended, by token and by the book."""
        rows = self.query(
            """SELECT prediction_id, error_kind FROM generations
               WHERE prediction_id IS NOT NULL AND state <> 'open'"""
        )
        # One that was given up counts, whatever became of it at Replicate.
        made = [(self.replicate.made[row.prediction_id], row.error_kind) for row in rows]
        return Counter(
            each.token_id
            for each, kind in made
            if kind == Kind.UNRESOLVED or self._costs_an_attempt(each)
        )

    def _costs_an_attempt(self, made: Made) -> bool:
        if made.canceled:
            return True
        match made.fate:
            case Fate.ABORTED:
                return False
            case Fate.CENSORED:
                return made.prompt == FALLBACK  # the author's shares its attempt
            case Fate.FORGOTTEN:
                return self._is_committed(made.id)
            case _:
                return True

    # In the end.

    def unfinished(self) -> list[Any]:
        """What waits or is open."""
        return self.query(
            """SELECT t::text FROM tokens_s0 t WHERE status IN ('detected', 'generating')
               UNION ALL SELECT g::text FROM generations g WHERE state = 'open'"""
        )

    def every_token_has_ended_with_reason(self) -> None:
        assert not self.unfinished(), f"without an end: {self.unfinished()}"
        for row in self.query(INCONSISTENT):
            # A reset keeps the last image's URL, and the attempts after it may fail.
            assert row.generation_error and row.image_url, f"law 5: {row}"
        for row in self.query("SELECT * FROM tokens_s0 WHERE status = 'failed'"):
            assert self._may_have_failed(row), f"failed for nothing: {row}"
        has_image = {row.token_id for row in self.query("SELECT * FROM generations")
                     if row.image_url}  # fmt: skip
        for made in self.replicate.made.values():
            is_forgotten = self._left_behind and (
                made.token_id in has_image or made.token_id not in self.tokens()
            )
            is_overlooked = made.has_image and not self._is_committed(made.id)
            assert is_forgotten or not is_overlooked, f"overlooked: {made}"

    def _has_another_image(self, token_id: int) -> bool:
        made = self.replicate.made.values()
        return any(each.fate is Fate.IMAGE and each.token_id != token_id for each in made)

    def _may_have_failed(self, token: Any) -> bool:
        """Whether the book knows a reason for how the token's last generation ended."""
        last = self.query(
            "SELECT * FROM generations WHERE token_id = %s ORDER BY id DESC LIMIT 1",
            token.token_id,
        )[0]
        made = self.replicate.of_token(token.token_id)
        fates = {each.fate for each in made}
        posts = {post for token_id, post in self.replicate.posts if token_id == token.token_id}
        attempts: int = token.generation_attempts
        match last.error_kind:
            case Kind.INVALID_PROMPT:
                return not posts
            case Kind.CONTENT_POLICY:
                return bool(last.fallback) and (Fate.CENSORED in fates or Post.CENSORED in posts)
            case Kind.PERMANENT:
                return Fate.PERMANENT in fates or Post.BAD_INPUT in posts
            case Kind.UNREADABLE:
                return Fate.UNREADABLE in fates
            case Kind.NO_OUTPUT:
                in_vain = [each for each in made if each.fate is Fate.NO_OUTPUT]
                return len(in_vain) > 1 or attempts == MAX_ATTEMPTS
            case kind if kind in UNPROVEN_KINDS:
                is_its_own = attempts == MAX_ATTEMPTS and self._has_another_image(token.token_id)
                is_too_long = self.passed_seconds > GIVE_UP_AFTER_SECONDS
                return is_its_own or is_too_long or len(made) >= MOST_PREDICTIONS
            case Kind.GONE:
                return Fate.FORGOTTEN in fates
            case Kind.DATA_REMOVED:
                return any(each.removed for each in made)
            case Kind.UNRESOLVED:
                is_removed = any(each.removed for each in self.replicate.made.values())
                return is_removed or self.passed_seconds > GIVE_UP_AFTER_SECONDS
            case reason:
                return reason in set(Reason) and self.passed_seconds > GIVE_UP_AFTER_SECONDS
