"""The SQL of the queue: one statement for each of its verbs."""

from string import Template

from imagegen.database import Tables


def statements(tables: Tables) -> dict[str, str]:
    """Every statement by its verb, with the literals of the tables that are there."""
    words = {**tables.labels, "waited_seconds": tables.waited_seconds, "fence": FENCE}
    words |= {"requested_at": REQUESTED_AT}
    words |= {"wanted": Template(WANTED).substitute(words)}
    words |= {"claimed": Template(CLAIMED).substitute(words)}
    words |= {"closed": Template(CLOSED).substitute(words)}
    return {name: Template(sql).substitute(words) for name, sql in STATEMENTS.items()}


def _iso(time: str) -> str:
    """SQL for a time as ISO 8601 text in UTC."""
    return f"""to_char({time} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


REQUESTED_AT = _iso("requested_at")
CLOSED = """coalesce((SELECT status FROM token) = $detected, false) AS waits_again,
            coalesce((SELECT status FROM token) = $failed, false) AS failed,
            extract(epoch FROM now() - opened_at)::float AS duration_seconds"""
FENCE = "id = %(generation_id)s AND worker = %(worker)s AND state = 'open'"

# Whether the token `t` still waits for what a generation `g` makes. A token that was deleted and
# minted anew, for another author, does not. Generations of older versions have no author.
WANTED = """coalesce(t.status IN ($detected, $generating)
                AND coalesce(t.author_id::text = g.author, g.author IS NULL), false)"""

# Where commits need not reach the disk (synchronous_commit), this one has to (law 1): PostgreSQL
# may crash after the POST has left.
DURABLY = """(current_setting('synchronous_commit') NOT IN ('off', 'local')
            OR set_config('synchronous_commit', 'on', true) IS NOT NULL)"""

# Requests of a token that Replicate's list did not hold when it had settled. After an hour it no
# longer tells of them.
DOUBTED = """
        FROM generations p WHERE p.token_id = g.token_id AND p.state = 'refused'
            AND coalesce(p.author = g.author, true)
            AND p.error_kind = 'unavailable' AND p.prediction_id IS NULL
            AND p.requested_at > now() - interval '1 hour'"""

# A row of `g`, its token `t` and author `a`, as a Claim.
CLAIMED = f"""
    g.id AS generation_id, g.token_id, g.attempt, g.fallback, g.model, g.seed, g.prompt,
    g.prediction_id, a.prompt_text::text AS author_prompt,
    extract(epoch FROM now() - g.opened_at)::float AS opened_seconds_ago,
    $requested_at AS requested_at,
    extract(epoch FROM now() - g.requested_at)::float AS requested_seconds_ago,
    (SELECT p.error_kind FROM generations p
     WHERE p.token_id = g.token_id AND p.attempt = g.attempt - 1 AND p.state = 'failed'
     ORDER BY p.id DESC LIMIT 1) AS previous_kind,
    (SELECT array_agg(p.seed) {DOUBTED}) AS doubted_seeds,
    (SELECT {_iso("min(p.requested_at)")} {DOUBTED}) AS doubted_at,
    (SELECT extract(epoch FROM now() - min(p.requested_at))::float {DOUBTED})
        AS doubted_seconds_ago"""


def _closing(generation: str, token: str) -> str:
    """Close a generation, and tell its token, unless somebody has moved that on meanwhile."""
    return f"""
        WITH closed AS (
            UPDATE generations SET closed_at = now(), {generation}
            WHERE $fence
            RETURNING *
        ), token AS (
            UPDATE tokens_s0 t SET {token}
            FROM closed g WHERE t.token_id = g.token_id AND $wanted
            RETURNING t.status
        )
        SELECT $closed FROM closed"""


# Given up: refused for so long. An operator's reset, which clears the error, begins anew.
GIVEN_UP = "now() - g.refused_since > make_interval(secs => %(give_up_after)s)"


# A token that was left alone for this part of the time to give up, and for longer than any delay of
# its own, was not refused meanwhile: the program did not run. Its time begins anew.
LEFT_ALONE = "now() - make_interval(secs => greatest(%(give_up_after)s / 4, 3600))"


def _of_refusal_before(column: str) -> str:
    """Of the generation before, if it was refused as well; NULL otherwise, and after a reset."""
    return f"""(
                SELECT p.{column} FROM tokens_s0 t JOIN generations p USING (token_id)
                WHERE t.token_id = generations.token_id AND t.generation_error IS NOT NULL
                    AND p.closed_at > {LEFT_ALONE}
                    AND p.id = (
                        SELECT max(q.id) FROM generations q
                        WHERE q.token_id = generations.token_id AND q.id < generations.id))"""


# The prompt of a fallback that was refused at the door: its token goes on with it. The author's was
# censored already, and would be paid for with time and another refusal. An operator's reset, which
# clears the error, begins anew.
FALLBACK_BEFORE = """CASE WHEN t.generation_error IS NOT NULL THEN (
                    SELECT (array_agg(CASE WHEN p.fallback AND p.state = 'refused' THEN p.prompt END
                        ORDER BY p.id DESC))[1]
                    FROM generations p WHERE p.token_id = t.token_id) END"""

STATEMENTS = {
    # Adopted first: they may be paid already. And those that have not asked yet, because it was not
    # their turn, take it before any new token. A token with an open generation in the way (an
    # operator's reset) is left to that generation.
    "claim": f"""
        WITH left_behind AS (
            SELECT id, worker IS NULL AS postponed FROM generations
            WHERE state = 'open' AND lease_until < now()
                AND NOT token_id = ANY(%(busy)s::bigint[])
            ORDER BY lease_until LIMIT %(limit)s FOR UPDATE SKIP LOCKED
        ), adopted AS (
            UPDATE generations g SET worker = %(worker)s,
                lease_until = now() + make_interval(secs => %(lease)s)
            FROM left_behind WHERE g.id = left_behind.id
            RETURNING g.*, left_behind.postponed
        ), due AS (
            SELECT FROM generations
            WHERE state = 'open' AND requested_at IS NULL
                AND lease_until < now() + make_interval(secs => %(ahead)s)
        ), picked AS (
            SELECT t.token_id, t.generation_attempts, t.author_id,
                $waited_seconds AS waited_seconds, {FALLBACK_BEFORE} AS fallback_prompt
            FROM tokens_s0 t
            WHERE t.status = $detected
                AND (t.generate_after IS NULL OR t.generate_after <= now())
                AND NOT EXISTS (
                    SELECT FROM generations g WHERE g.token_id = t.token_id AND g.state = 'open')
            ORDER BY t.created_at, t.token_id
            LIMIT greatest(0, least(
                %(new_limit)s - (SELECT count(*) FROM due),
                %(limit)s - (SELECT count(*) FROM adopted)))
            FOR UPDATE OF t SKIP LOCKED
        ), opened AS (
            INSERT INTO generations
                (token_id, author, attempt, model, seed, worker, lease_until, fallback, prompt)
            SELECT token_id, author_id::text, generation_attempts + 1, %(model)s,
                floor(random() * 2147483647)::bigint, %(worker)s,
                now() + make_interval(secs => %(lease)s),
                fallback_prompt IS NOT NULL, fallback_prompt
            FROM picked
            ON CONFLICT (token_id) WHERE state = 'open' DO NOTHING
            RETURNING *
        ), marked AS (
            UPDATE tokens_s0 t SET status = $generating, generate_after = NULL
            FROM opened WHERE t.token_id = opened.token_id
        )
        SELECT $claimed, true AS adopted, g.postponed, $wanted AS wanted,
            $waited_seconds AS waited_seconds
        FROM adopted g LEFT JOIN tokens_s0 t USING (token_id)
            LEFT JOIN authors a ON a.id = t.author_id
        UNION ALL
        SELECT $claimed, false, false, true, picked.waited_seconds
        FROM opened g JOIN picked USING (token_id)
            LEFT JOIN authors a ON a.id = picked.author_id""",
    # A row that is locked is passed over, here and in `release` and `mend`: its own write may be
    # waiting for a token that an operator's open transaction holds. Nobody adopts it meanwhile.
    "renew": """
        UPDATE generations SET lease_until = now() + make_interval(secs => %(lease)s)
        WHERE id IN (
            SELECT id FROM generations
            WHERE token_id = ANY(%(token_ids)s) AND worker = %(worker)s AND state = 'open'
            FOR UPDATE SKIP LOCKED)
        RETURNING id""",
    "record_request": f"""
        UPDATE generations SET requested_at = now(), prompt = %(prompt)s
        WHERE $fence AND requested_at IS NULL AND {DURABLY}
        RETURNING $requested_at AS requested_at""",
    "record_prediction": """
        UPDATE generations SET prediction_id = %(prediction_id)s
        WHERE $fence AND coalesce(prediction_id, %(prediction_id)s) = %(prediction_id)s
        RETURNING prediction_id""",
    "close_succeeded": _closing(
        """state = 'succeeded', image_url = %(url)s,
                predict_seconds = %(predict_seconds)s, images = %(count)s,
                image_path = %(path)s, image_sha256 = %(sha256)s""",
        """status = $uploading, image_url = %(url)s,
                generation_attempts = t.generation_attempts + 1,
                generation_error = NULL, generate_after = NULL""",
    ),
    "close_failed": _closing(
        "state = 'failed', error_kind = %(kind)s, error_message = %(message)s",
        """
                status = CASE WHEN t.generation_attempts + %(attempts)s < %(max_attempts)s
                    THEN $detected ELSE $failed END,
                generate_after = CASE WHEN t.generation_attempts + %(attempts)s < %(max_attempts)s
                    THEN now() + make_interval(secs => %(again_seconds)s) END,
                generation_attempts = t.generation_attempts + %(attempts)s,
                generation_error = %(message)s""",
    ),
    "close_refused": _closing(
        f"""state = 'refused', error_kind = %(kind)s, error_message = %(message)s,
                refusals = coalesce({_of_refusal_before("refusals")}, 0) + 1,
                refused_since = coalesce({_of_refusal_before("refused_since")}, opened_at)""",
        f"""
                status = CASE WHEN {GIVEN_UP} THEN $failed ELSE $detected END,
                generate_after = CASE WHEN NOT {GIVEN_UP} THEN now() + make_interval(
                    secs => greatest(%(again_seconds)s, least(
                        %(own_seconds)s * 2 ^ least(g.refusals - 1, 20),
                        %(own_most_seconds)s))) END,
                generation_error = %(message)s""",
    ),
    "lock_daily_limit": "SELECT pg_advisory_xact_lock(hashtextextended('imagegen daily limit', 0))",
    # What left and may have been accepted counts too; what was surely refused does not.
    "requested_today": """
        SELECT count(*) AS requested, (
                SELECT count(*) FROM generations WHERE state = 'open' AND requested_at IS NULL
            ) AS unsent
        FROM generations
        WHERE requested_at > now() - interval '24 hours'
            AND (prediction_id IS NOT NULL OR state = 'open' OR error_kind = 'unresolved')""",
    "close_censored": """
        WITH closed AS (
            UPDATE generations SET state = 'failed', closed_at = now(),
                error_kind = %(kind)s, error_message = %(message)s
            WHERE $fence
            RETURNING token_id, author, attempt, model
        ), g AS (
            INSERT INTO generations
                (token_id, author, attempt, model, seed, worker, lease_until, fallback, prompt)
            SELECT token_id, author, attempt, model, floor(random() * 2147483647)::bigint,
                %(worker)s, now() + make_interval(secs => %(lease)s), true, %(prompt)s
            FROM closed
            RETURNING *
        )
        SELECT $claimed, false AS adopted, false AS postponed,
            $wanted AS wanted,
            0::float AS waited_seconds
        FROM g LEFT JOIN tokens_s0 t USING (token_id) LEFT JOIN authors a ON a.id = t.author_id""",
    "postpone": """
        UPDATE generations SET worker = NULL,
            lease_until = now() + make_interval(secs => %(again_seconds)s)
        WHERE $fence
        RETURNING id""",
    "release": """
        UPDATE generations SET lease_until = now() - interval '1 microsecond'
        WHERE id IN (
            SELECT id FROM generations
            WHERE worker = %(of_worker)s AND state = 'open'
                OR starts_with(worker, %(place)s) AND worker <> %(worker)s AND state = 'open'
            FOR UPDATE SKIP LOCKED)
        RETURNING id""",
    "known_predictions": """
        SELECT prediction_id FROM generations WHERE prediction_id = ANY(%(prediction_ids)s)""",
    "anybody_waits": """
        SELECT EXISTS (SELECT FROM tokens_s0 t WHERE t.status = $detected)
            OR EXISTS (SELECT FROM tokens_s0 t WHERE t.status = $generating) AS waits""",
    "mend": """
        WITH abandoned AS (
            SELECT t.token_id FROM tokens_s0 t
            WHERE t.status = $generating AND NOT EXISTS (
                SELECT FROM generations g WHERE g.token_id = t.token_id AND g.state = 'open')
            FOR UPDATE SKIP LOCKED
        ), reset AS (
            SELECT t.token_id FROM generations g JOIN tokens_s0 t USING (token_id)
            WHERE g.state = 'open' AND t.status = $detected
            FOR UPDATE OF g, t SKIP LOCKED
        ), waiting AS (
            UPDATE tokens_s0 t SET status = $detected, generate_after = NULL
            FROM abandoned WHERE t.token_id = abandoned.token_id
            RETURNING t.token_id
        ), at_work AS (
            UPDATE tokens_s0 t SET status = $generating
            FROM reset WHERE t.token_id = reset.token_id
            RETURNING t.token_id
        )
        SELECT (SELECT count(*) FROM waiting) + (SELECT count(*) FROM at_work) AS mended""",
}
