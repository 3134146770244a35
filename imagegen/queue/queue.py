"""The tokens and their generations in PostgreSQL, with a verb for each change of them.

Each verb is one statement or transaction, so both tables change together (law 5). Each write names
the generation, its seed, its token, this worker and `state = 'open'` (law 4): if it finds no row,
the lease is lost and the verb says so. Leases and backoffs run on PostgreSQL's clock.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.errors import UniqueViolation

from imagegen.database import AWAY, Pool, Tables
from imagegen.failures import FAILURES, Retry
from imagegen.queue import closings, daily_limit
from imagegen.queue.closings import ERROR_CHARACTERS, ClosingRefusedError
from imagegen.queue.daily_limit import DailyAllowance, DailyBudget, DailyLimits
from imagegen.queue.fill import among
from imagegen.queue.parameters import fence, known, to_claim
from imagegen.queue.session import Session
from imagegen.queue.standing import PausedError, Standing
from imagegen.queue.values import (
    Applied,
    Claim,
    Decision,
    History,
    Postpone,
    Repairs,
    UseFallback,
)

# A postponed generation that is due within this time is counted before new tokens: the create rate
# will admit one when it is due.
DUE_WITHIN_SECONDS = 1.0
# One or two tokens whose own predictions fail are not an incident of all.
SEVERAL_TOKENS = 3
# Failures that may be the token's or the model's fault.
UNPROVEN_KINDS = [kind for kind, failure in FAILURES.items() if failure.retry is Retry.ATTEMPT]
# How many generations of one token a database that went back may have forgotten: three attempts,
# each with a fallback, and refusals between them.
MOST_FORGOTTEN = 30


class Queue:
    """The access of one worker to the two tables. Methods raise psycopg.Error."""

    def __init__(
        self,
        pool: Pool,
        tables: Tables | None,
        worker: str,
        *,
        lease_seconds: float,
        give_up_after_seconds: float,
        daily_limit: int | None = None,
        daily_budget: Decimal | None = None,
        request_dollars: Decimal | None = None,
        second_dollars: Decimal | None = None,
        standing: Standing | None = None,
    ) -> None:
        """`tables` are read from the database if they are None or have changed. The queues of one
        worker share `standing`."""
        common = {"worker": worker, "lease_seconds": lease_seconds}
        self.session = Session(pool, tables, common | {"most_forgotten": MOST_FORGOTTEN})
        self._worker = worker
        self._give_up_after_seconds = give_up_after_seconds
        self._prices = request_dollars, second_dollars
        self.standing = standing or Standing(daily_limit, daily_budget)

    def claim(
        self,
        *,
        limit: int,
        new_limit: int,
        model: str,
        busy: Collection[int] = (),
        only: Collection[int] | None = None,
    ) -> list[Claim]:
        """Claim up to `limit` generations: first any with an expired lease, then up to `new_limit`
        tokens that wait, the oldest first, unless an operator has paused. `busy` tokens are left
        out; with `only`, all but these are. Updates `standing`."""
        values = {"limit": limit, "new_limit": new_limit, "model": model}
        values |= {"due_within_seconds": DUE_WITHIN_SECONDS}
        name, values = among("claim", values, busy, only)
        claimed, [standing] = self.session.run([name, "standing"], values)
        self.standing.note(standing)
        return [to_claim(**row) for row in claimed]

    def read_standing(self) -> None:
        """Update `standing`, the pause and limits of operators, without a claim."""
        [standing] = self._run("standing", {})
        self.standing.note(standing)

    def candidates(self, *, limit: int, busy: Collection[int]) -> list[int]:
        """Return tokens that `claim` would take, in its order: up to `limit` expired leases, then
        up to `limit` that wait."""
        values = {"limit": limit, "tokens": list(busy)}
        return [row["token_id"] for row in self._run("candidates", values)]

    def set_aside(self, token_id: int, message: str, model: str) -> int:
        """Record that a token could not be claimed. Return how many times in a row it could not."""
        values = {"token_id": token_id, "message": message[:ERROR_CHARACTERS], "model": model}
        return int(self._run("set_aside", values)[0]["refusals"])

    def confirm_commits(self) -> None:
        """Commit a change of nothing. Raises one of AWAY if the database cannot commit."""
        self._run("confirm_commits", {})

    def renew(self, token_ids: Collection[int]) -> None:
        """Renew this worker's leases of these tokens' open generations."""
        if token_ids:
            self._run("renew", {"token_ids": list(token_ids)})

    def record_request(
        self, claim: Claim, *, prompt: str, model: str, account: str | None
    ) -> Claim | None:
        """Commit that a POST is about to leave (law 1). None: the lease is lost, or the server has
        changed since the claim; send nothing. Raises DailyLimitError, or PausedError."""
        values = {"prompt": prompt, "model": model, "account": account, "server": claim.server}
        limits = self._daily_limits
        values |= {"estimated_cost": limits.budget and limits.budget.request_dollars} | fence(claim)
        if not limits.are_set:
            rows = self._run("record_request", values)
        else:
            with self.session.lend() as (connection, statements):
                rows = daily_limit.record_within(
                    limits, connection, statements, self.session.values(values)
                )
        if not rows:
            self.read_standing()
            if self.standing.pause:
                raise PausedError
        return replace(claim, **rows[0], requested_seconds_ago=0.0) if rows else None

    def record_found(
        self,
        claim: Claim,
        prediction_id: str,
        *,
        prompt: str,
        account: str | None,
        made_at: datetime | None,
    ) -> Claim | None:
        """Commit a prediction that an earlier request made at `made_at` (None: unknown). No request
        is sent, so the daily limit does not count. None: as for `record_prediction`."""
        values = {"prompt": prompt, "account": account, "made_at": made_at}
        values |= {"prediction_id": prediction_id}
        return self._record_prediction("record_found", claim, values)

    def record_prediction(self, claim: Claim, prediction_id: str) -> Claim | None:
        """Commit the id of the prediction that Replicate accepted. It may be committed again if the
        outcome of the first commit is unknown. None: the lease is lost, or another generation has
        taken the prediction for its own (only where a model has no marker input)."""
        return self._record_prediction("record_prediction", claim, {"prediction_id": prediction_id})

    def _record_prediction(
        self, name: str, claim: Claim, values: Mapping[str, Any]
    ) -> Claim | None:
        try:
            rows = self._run(name, {**values, **fence(claim)})
        except UniqueViolation:
            return None
        return replace(claim, **rows[0]) if rows else None

    def daily_allowance(self) -> DailyAllowance:
        """Return how many predictions the daily limit and the daily budget still admit."""
        limits = self._daily_limits
        return limits.allowance(self._run) if limits.are_set else DailyAllowance()

    @property
    def _daily_limits(self) -> DailyLimits:
        dollars = self.standing.daily_budget
        budget = None if dollars is None else DailyBudget(dollars, *self._prices)
        return DailyLimits(self.standing.daily_limit, budget)

    def history(self, claim: Claim) -> History | None:
        """Return the failures of the token's earlier predictions, and whether the model has made
        images for other tokens since. None: the lease is lost."""
        values = {"several_tokens": SEVERAL_TOKENS, "unproven_kinds": UNPROVEN_KINDS}
        values |= {"give_up_after_seconds": self._give_up_after_seconds}
        rows = self._run("history", values | fence(claim))
        return History(**rows[0]) if rows else None

    def end_incident(self) -> None:
        """Let tokens that wait for the end of an incident go on."""
        self._run("end_incident", {})

    def apply(self, claim: Claim, decision: Decision) -> Applied | None:
        """Write what was decided about a generation, together with its token. None: as for
        `record_prediction`. Raises ClosingRefusedError if the token cannot have it."""
        refused, tables = "", self.session.tables
        for error in closings.errors_of(decision, tables.error_characters if tables else None):
            try:
                return self._apply(claim, decision, error)
            except AWAY:
                raise
            except psycopg.Error as why:
                if isinstance(why, UniqueViolation) and why.diag.table_name == "generations":
                    return None
                refused = closings.why_refused(why)
        raise ClosingRefusedError(refused)

    def _apply(self, claim: Claim, decision: Decision, error: str | None) -> Applied | None:
        values = closings.values_of(decision, error, self._give_up_after_seconds) | known(claim)
        match decision:
            case UseFallback():
                rows = self._run("use_fallback", values)
                return Applied(fallback=to_claim(**rows[0])) if rows else None
            case Postpone():
                return Applied() if self._run("postpone", values) else None
        with self.session.lend() as (connection, statements):
            values = self.session.values(values)
            row = closings.close(connection, decision, statements, values)
        return Applied(**row) if row else None

    def keep(self, claim: Claim, decision: Decision, why: str) -> Applied | None:
        """Keep a decision in `generations` that the database refused. Any worker tries it again,
        after growing times. None: the lease is lost."""
        values = closings.kept_values(decision, why) | known(claim)
        rows = self._run("keep", values)
        return (
            Applied(refused_because=why, retry_seconds=rows[0]["retry_seconds"]) if rows else None
        )

    def hasten_closings(self) -> None:
        """Make all kept decisions due at once."""
        self._run("hasten_closings", {})

    def release(self) -> int:
        """End the leases of this worker, which stops, so that the next claim adopts its
        generations. Return how many."""
        return self._release([self._worker])

    def release_leases_of(self, predecessor: str) -> int:
        """End the leases of a dead predecessor, and of those before it in the same role, which it
        may not have ended yet. Return how many."""
        return self._release([predecessor], predecessor.rpartition(".")[0] + ".")

    def holders(self) -> list[str]:
        """Return the names of workers with open generations, also with an expired lease."""
        return [row["worker"] for row in self._run("holders", {})]

    def release_leases_of_dead(self, workers: Collection[str]) -> int:
        """End the leases of workers whose processes have ended. Returns how many."""
        return self._release(workers)

    def known_predictions(self, claim: Claim, prediction_ids: Collection[str]) -> set[str]:
        """Return which of these predictions belong to another generation."""
        values = {"prediction_ids": list(prediction_ids)} | fence(claim)
        return {row["prediction_id"] for row in self._run("known_predictions", values)}

    def record_duplicate(
        self,
        claim: Claim,
        prediction_id: str,
        *,
        status: str,
        account: str | None,
        made_at: datetime | None,
    ) -> str | None:
        """Record another prediction of the same request, which is about to be cancelled. Returns
        its id. None: the lease is lost."""
        values = {"duplicate_id": prediction_id, "status": status, "account": account}
        rows = self._run("record_duplicate", {**values, "made_at": made_at, **fence(claim)})
        return rows[0]["prediction_id"] if rows else None

    def is_any_token_waiting(self) -> bool:
        """Return whether there is a token that waits for its image, at work or not."""
        return bool(self._run("is_any_token_waiting", {})[0]["is_waiting"])

    def resets(self) -> list[int]:
        """Return the tokens that an operator reset while their generation was open."""
        return [row["token_id"] for row in self._run("resets", {})]

    def repair_statuses(
        self,
        abandoned: Mapping[int, str],
        busy: Collection[int] = (),
        only: Collection[int] | None = None,
    ) -> Repairs:
        """Repair the status of tokens that an operator reset, and of those that another program has
        `abandoned`: orphans of an earlier repair that have not changed since. `busy` tokens are
        left out; with `only`, all but these are."""
        values = {"token_ids": list(abandoned), "versions": list(abandoned.values())}
        [row] = self._run(*among("repair_statuses", values, busy, only))
        orphans = dict(zip(row["token_ids"], row["versions"], strict=True))
        return Repairs(row["repaired"], orphans)

    def _release(self, workers: Collection[str], prefix: str | None = None) -> int:
        values = {"of_workers": list(workers), "worker_prefix": prefix}
        return len(self._run("release", values))

    def _run(self, name: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        [rows] = self.session.run([name], values)
        return rows
