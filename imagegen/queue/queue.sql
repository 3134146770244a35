-- The SQL of the queue: one statement for each verb, so that both tables change together (law 5).
--
-- $detected and the other statuses are labels of tokens_s0.status, filled in as literals: a
-- parameter would lose the partial indexes. $waited_seconds is the time since the mint of `t`, and
-- $token_id its id as an integer: NULL where the user's column holds something else.
--
-- Rows are locked FOR NO KEY UPDATE. That keeps out every other change and a DELETE, but no INSERT
-- of a row with a foreign key to them.

-- fragment: fence
-- Only the worker that holds the lease of an open generation may write to it (law 4).
id = %(generation_id)s AND seed = %(seed)s AND token_id = %(token_id)s
    AND worker = %(worker)s AND state = 'open'

-- fragment: known
-- Columns that the worker has recorded are written again at the end of the generation: a server
-- that took over from another may have the claim, but not the later changes.
requested_at = coalesce(requested_at, %(requested_at)s), prompt = coalesce(prompt, %(prompt)s),
    account = coalesce(account, %(account)s),
    prediction_id = coalesce(prediction_id, %(prediction_id)s)

-- fragment: server
-- The run of the database server, and the table in it: one of them changes with each restart,
-- failover and restore.
concat_ws('/', extract(epoch FROM pg_postmaster_start_time()),
    pg_relation_filenode('generations'))

-- fragment: seed
-- The seed of the generation `n` of a token. After the database has forgotten it, the same number of
-- the same token has the same seed again, by which its prediction is found.
mod(hashtextextended(concat_ws('/',
    (SELECT server FROM imagegen_servers WHERE noticed_at = '-infinity'),
    n.token_id, n.author, n.number), 0) & 9223372036854775807, 2147483647)

-- fragment: wanted
-- Whether the token `t` still waits for the image of a generation `g`. A token that was deleted and
-- minted anew for another author does not. Generations of older versions have no author.
coalesce(t.status IN ($detected, $generating)
    AND coalesce(t.author_id::text = g.author, g.author IS NULL), false)

-- fragment: iso_8601
'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'

-- fragment: claim_columns
-- A generation `g`, its author `a` and its token's `unresolved` requests, as a Claim.
g.id AS generation_id, g.token_id, g.attempt, g.fallback, g.model, g.seed, g.prompt,
g.prediction_id, g.account, left(a.prompt_text::text, 100000) AS author_prompt,
a.id IS NOT NULL AS has_author,
extract(epoch FROM now() - g.opened_at)::float AS opened_seconds_ago,
to_char(g.requested_at AT TIME ZONE 'UTC', $iso_8601) AS requested_at,
extract(epoch FROM now() - g.requested_at)::float AS requested_seconds_ago,
unresolved.requests AS unresolved, doubtful.doubt,
g.closing, extract(epoch FROM now() - g.closing_refused_at)::float AS closing_refused_seconds

-- fragment: join_unresolved
-- Requests of the token of `g` that Replicate's list did not hold when they had settled: it may hold
-- them late. They are written off once the token has failed for one of them. (`coalesce` keeps
-- PostgreSQL from reading all generations without a prediction.)
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object(
        'seed', p.seed, 'prompt', p.prompt, 'account', p.account, 'model', p.model,
        'written_off', p.state = 'failed' OR EXISTS (
            SELECT FROM generations later
            WHERE later.token_id = p.token_id AND later.id > p.id AND later.id <> g.id
                AND later.error_kind = 'unresolved'),
        'requested_at', to_char(p.requested_at AT TIME ZONE 'UTC', $iso_8601),
        'requested_seconds_ago', extract(epoch FROM now() - p.requested_at)::float)) AS requests
    FROM generations p
    WHERE p.token_id = g.token_id AND coalesce(p.prediction_id, '') = ''
        AND (p.state, p.error_kind) IN (('refused', 'unavailable'), ('failed', 'unresolved'))
        AND coalesce(p.author = g.author, true)
        AND p.requested_at > now() - interval '2 days') unresolved ON true

-- fragment: noticed
-- The servers noticed within 30 days, with this one if it is seen for the first time: it may have
-- forgotten requests made after `ledger_until`.
noticed AS (
    INSERT INTO imagegen_servers (server, noticed_at, ledger_until)
    SELECT here.server, now(), greatest(now() - interval '7 days',
        (SELECT g.opened_at FROM generations g ORDER BY g.id DESC LIMIT 1))
    FROM (SELECT $server AS server) here
    WHERE NOT EXISTS (SELECT FROM imagegen_servers known WHERE known.server = here.server)
    ON CONFLICT (server) DO UPDATE SET server = excluded.server
    RETURNING noticed_at, ledger_until
), changes AS (
    SELECT noticed_at, ledger_until FROM noticed
    UNION ALL SELECT noticed_at, ledger_until FROM imagegen_servers
    WHERE noticed_at > now() - interval '30 days'
)

-- fragment: join_doubt
-- Seeds of requests of the token `t` that new servers may have forgotten: those of its generation
-- `g`, of later ones, and of earlier ones, of which a server may have only the claim.
-- A token that was minted later may have been forgotten too, and minted again; after an hour
-- Replicate has forgotten its request as well. So requests are looked for since an hour before the
-- mint, and not since the last one before a quiet week. There is no doubt once a request was
-- recorded, or given up as unresolved, since. The clocks of two servers differ by less than ten
-- seconds.
LEFT JOIN LATERAL (
    SELECT max(c.noticed_at) AS noticed_at, greatest(min(c.ledger_until) + interval '1 hour',
        CASE WHEN isfinite(t.created_at) THEN least($minted_at, now()) END)
            - interval '1 hour' AS since
    FROM changes c
    WHERE coalesce($minted_at < c.noticed_at + interval '10 seconds'
            OR c.noticed_at > now() - interval '1 hour'
            OR NOT isfinite(t.created_at), true)
        AND NOT EXISTS (
            SELECT FROM generations p
            WHERE p.token_id = g.token_id AND p.id <> g.id
                AND coalesce(p.requested_at,
                    CASE WHEN p.error_kind = 'unresolved' THEN p.closed_at END)
                    > c.noticed_at + interval '10 seconds')) change ON true
LEFT JOIN LATERAL (
    SELECT jsonb_build_object(
        'seeds', jsonb_agg($seed),
        'since', to_char(change.since AT TIME ZONE 'UTC', $iso_8601),
        'since_seconds_ago', extract(epoch FROM now() - change.since)::float,
        'noticed_at', to_char(change.noticed_at AT TIME ZONE 'UTC', $iso_8601),
        'noticed_seconds_ago', extract(epoch FROM now() - change.noticed_at)::float) AS doubt
    FROM (
        SELECT g.token_id, g.author, number
        FROM generate_series(1, %(most_forgotten)s + (
            SELECT count(*) FROM generations q
            WHERE q.token_id = g.token_id AND q.id < g.id)) number) n
    WHERE change.noticed_at IS NOT NULL
    GROUP BY change.noticed_at, change.since) doubtful ON true

-- fragment: result
-- What became of the token when the generation was closed.
coalesce((SELECT status FROM token) = $detected, false) AS waits_again,
coalesce((SELECT status FROM token) = $failed, false) AS failed,
extract(epoch FROM now() - opened_at)::float AS duration_seconds

-- fragment: is_recent
-- Whether the generation `p` ended so recently that the next one continues its row of refusals or
-- failures. After a quarter of the give-up time (at least an hour) without a try, imagegen was not
-- running, or was paused.
p.closed_at > now() - make_interval(secs => greatest(%(give_up_after_seconds)s::float / 4, 3600))

-- fragment: given_up
-- The token was refused for too long. An operator's reset, which clears the error, starts the time
-- again.
coalesce(now() - g.refused_since > make_interval(secs => %(give_up_after_seconds)s), false)

-- fragment: from_previous
-- The generation `p` before this one. There is none after a reset, which clears the token's error.
FROM tokens_s0 t JOIN generations p USING (token_id)
WHERE t.token_id = generations.token_id AND t.generation_error IS NOT NULL
    AND p.id = (
        SELECT max(q.id) FROM generations q
        WHERE q.token_id = generations.token_id AND q.id < generations.id)

-- fragment: from_previous_refusal
-- None if it is not recent: then the count starts again.
$from_previous AND $is_recent

-- fragment: failures_as_before
-- A refusal or a censored prompt is none of the token's failures in a row, and does not end them.
(failures, charged, failing_since) = (
    SELECT coalesce(max(p.failures), 0), coalesce(max(p.charged), 0), max(p.failing_since)
    $from_previous)

-- fragment: expired
-- Generations whose lease ran out, but for those of `tokens`; $but is NOT in most statements.
state = 'open' AND lease_until < now()
    AND $but token_id = ANY(%(tokens)s::bigint[])

-- fragment: waiting
-- Tokens that may be claimed. No odd value in a row makes a condition here fail: it would fail for
-- all others. OFFSET keeps PostgreSQL from a join that reads all open generations for each token,
-- and dead rows of those that were open before, while an old transaction goes on.
t.status = $detected
    AND (t.generate_after IS NULL OR t.generate_after <= now())
    AND $token_id IS NOT NULL
    AND $but $token_id = ANY(%(tokens)s::bigint[])
    AND NOT EXISTS (
        SELECT FROM generations g WHERE g.token_id = $token_id AND g.state = 'open' OFFSET 0)

-- fragment: is_paused
-- An operator's pause holds from its commit on: workers need not know of it yet.
EXISTS (SELECT FROM $pause pause)

-- name: standing
-- The pause and the limits that operators have set, over all hosts.
SELECT $pause_as_json AS pause, $limits AS limits

-- name: claim
-- Expired leases are adopted first: they may be paid already. Open generations that have sent no
-- request yet, because the gate held them back, are counted before any new token. A token with an
-- open generation (an operator's reset) is not claimed again.
--
-- After a fallback the token goes on with the fallback prompt until its error is cleared: the
-- author's was censored already, and sending it again costs time and another refusal. A fallback
-- that an operator asked for has no prompt yet.
--
-- A number of attempts that is NULL or impossible counts as 0, and is written as 0.
WITH $noticed, expired AS (
    SELECT id, worker IS NULL AS postponed FROM generations
    WHERE $expired
    ORDER BY lease_until LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
), adopted AS (
    UPDATE generations g SET worker = %(worker)s,
        lease_until = now() + make_interval(secs => %(lease_seconds)s)
    FROM expired WHERE g.id = expired.id
    RETURNING g.*, expired.postponed
), due AS (
    SELECT FROM generations
    WHERE state = 'open' AND requested_at IS NULL AND closing IS NULL
        AND lease_until < now() + make_interval(secs => %(due_within_seconds)s)
), picked AS (
    SELECT $token_id AS token_id, t.author_id::text AS author,
        CASE WHEN t.generation_attempts BETWEEN -1000 AND 1000 THEN t.generation_attempts ELSE 0 END
            AS generation_attempts,
        CASE WHEN t.generation_error IS NOT NULL THEN (
            SELECT (array_agg(CASE WHEN p.fallback THEN coalesce(p.prompt, '') END
                ORDER BY p.id DESC))[1]
            FROM generations p WHERE p.token_id = $token_id) END AS fallback_prompt
    FROM tokens_s0 t
    WHERE $waiting AND NOT $is_paused
    ORDER BY t.created_at, t.token_id
    LIMIT greatest(0, least(
        %(new_limit)s - (SELECT count(*) FROM due),
        %(limit)s - (SELECT count(*) FROM adopted)))
    FOR NO KEY UPDATE OF t SKIP LOCKED
), opened AS (
    INSERT INTO generations
        (token_id, author, attempt, model, seed, worker, lease_until, fallback, prompt)
    SELECT token_id, author, generation_attempts + 1, %(model)s, $seed, %(worker)s,
        now() + make_interval(secs => %(lease_seconds)s),
        fallback_prompt IS NOT NULL, nullif(fallback_prompt, '')
    FROM (SELECT picked.*, 1 + (
            SELECT count(*) FROM generations g WHERE g.token_id = picked.token_id) AS number
        FROM picked) n
    ON CONFLICT (token_id) WHERE state = 'open' DO NOTHING
    RETURNING *
), marked AS (
    UPDATE tokens_s0 t SET status = $generating, generate_after = NULL,
        generation_attempts = opened.attempt - 1
    FROM opened WHERE t.token_id = opened.token_id
)
SELECT $claim_columns, g.adopted, g.postponed, $wanted AS wanted,
    $waited_seconds AS waited_seconds, $server AS server
FROM (SELECT *, true AS adopted FROM adopted UNION ALL SELECT *, false, false FROM opened) g
    LEFT JOIN tokens_s0 t USING (token_id)
    LEFT JOIN authors a ON a.id = t.author_id
    $join_unresolved
    $join_doubt
ORDER BY g.adopted DESC, g.id

-- name: confirm_commits
-- An update that changes nothing, to see whether the database can commit: reads succeed also while
-- commits wait for a standby. The migration has made the row.
UPDATE imagegen_servers SET noticed_at = noticed_at WHERE noticed_at = '-infinity' RETURNING server

-- name: candidates
-- The tokens that a claim would take, in its order.
(SELECT token_id FROM generations WHERE $expired ORDER BY lease_until LIMIT %(limit)s)
UNION ALL
(SELECT $token_id FROM tokens_s0 t WHERE $waiting ORDER BY t.created_at, t.token_id
 LIMIT %(limit)s)

-- name: set_aside
-- The record of a token that cannot be claimed: one row from the first time to the last, which
-- counts the times, for as long as nothing else is done with the token.
WITH known AS (
    UPDATE generations g SET refusals = refusals + 1, closed_at = now(), worker = %(worker)s,
        error_message = %(message)s
    WHERE token_id = %(token_id)s AND error_kind = 'set_aside'
        AND NOT EXISTS (
            SELECT FROM generations later WHERE later.token_id = g.token_id AND later.id > g.id)
    RETURNING refusals
), first AS (
    INSERT INTO generations (token_id, attempt, model, seed, worker, lease_until, state, closed_at,
        error_kind, error_message, refusals)
    SELECT %(token_id)s, 0, %(model)s, 0, %(worker)s, now(), 'refused', now(), 'set_aside',
        %(message)s, 1
    WHERE NOT EXISTS (SELECT FROM known)
    RETURNING refusals
)
SELECT refusals FROM known UNION ALL SELECT refusals FROM first

-- name: renew
-- A locked row is skipped, here, in `release` and in `repair_statuses`: its slot's write may wait
-- for a token that an operator's open transaction has locked. No worker can adopt it then.
UPDATE generations SET lease_until = now() + make_interval(secs => %(lease_seconds)s)
WHERE id IN (
    SELECT id FROM generations
    WHERE token_id = ANY(%(token_ids)s) AND worker = %(worker)s AND state = 'open'
    FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id

-- name: record_request
-- This commit reaches the disk also if synchronous_commit is off (law 1): PostgreSQL may crash
-- after the POST has left. It is refused on another server than that of the claim, which may know
-- less: the generation is claimed again there, in doubt.
UPDATE generations SET requested_at = now(), prompt = %(prompt)s, model = %(model)s,
    account = %(account)s, estimated_cost = %(estimated_cost)s
WHERE $fence AND requested_at IS NULL AND $server = %(server)s AND NOT $is_paused
    AND (current_setting('synchronous_commit') NOT IN ('off', 'local')
        OR set_config('synchronous_commit', 'on', true) IS NOT NULL)
RETURNING prompt, model, account,
    to_char(requested_at AT TIME ZONE 'UTC', $iso_8601) AS requested_at

-- name: record_found
-- `requested_at` is the time at which the prediction was made, by Replicate's clock, within the
-- time for which doubts hold. A token in doubt stays in doubt: there may be other requests from
-- before the server changed.
UPDATE generations SET prompt = %(prompt)s, account = %(account)s,
    requested_at = coalesce(requested_at,
        greatest(least(%(made_at)s, now()), now() - interval '30 days')),
    prediction_id = %(prediction_id)s
WHERE $fence AND coalesce(prediction_id, %(prediction_id)s) = %(prediction_id)s
RETURNING prompt, account, prediction_id,
    to_char(requested_at AT TIME ZONE 'UTC', $iso_8601) AS requested_at,
    extract(epoch FROM now() - requested_at)::float AS requested_seconds_ago

-- name: record_prediction
UPDATE generations SET prediction_id = %(prediction_id)s
WHERE $fence AND coalesce(prediction_id, %(prediction_id)s) = %(prediction_id)s
RETURNING prediction_id

-- name: complete
-- The token changes only if its status has not been changed in the meantime, here and below. If a
-- trigger removes the URL, the statement divides by zero, as in `discarded`.
WITH closed AS (
    UPDATE generations SET $known, closed_at = now(), state = 'succeeded', image_url = %(url)s,
        predict_seconds = %(predict_seconds)s, images = %(images)s,
        image_path = %(path)s, image_sha256 = %(sha256)s, handed_on_url = %(handed_on)s,
        cost = %(cost)s
    WHERE $fence
    RETURNING *
), token AS (
    UPDATE tokens_s0 t SET status = $uploading, image_url = coalesce(g.handed_on_url, g.image_url),
        generation_attempts = t.generation_attempts + 1,
        generation_error = NULL, generate_after = NULL
    FROM closed g WHERE t.token_id = g.token_id AND $wanted
    RETURNING t.status, t.image_url
)
SELECT $result FROM closed
WHERE 1 / (NOT EXISTS (SELECT FROM token WHERE image_url IS NULL))::integer > 0

-- name: history
-- The failures of a token, and the evidence whether they are its own or an incident of all tokens.
-- The evidence is an image of another token. An image that was requested after the token had failed
-- shows that the model works. An image of an earlier request may come from before an incident: it
-- counts only if hardly any other token has failed after it, and none whose first request was made
-- after it. A generation may close long after its image was made, if the copy had to wait. Failures
-- before a quarter of the give-up time without a try (a pause, a stop) do not belong to this
-- incident.
SELECT coalesce(p.failures, 0) AS failures, coalesce(p.charged, 0) AS charged,
    to_char(since.failing AT TIME ZONE 'UTC', $iso_8601) AS failing_since,
    extract(epoch FROM now() - since.failing)::float AS failing_seconds,
    p.error_kind AS previous_kind,
    EXISTS (
        SELECT FROM generations o
        WHERE o.state = 'succeeded' AND o.closed_at > first.failed_at
            AND o.requested_at > first.failed_at
            AND o.model = g.model AND o.token_id <> g.token_id) AS image_of_later,
    last_image.closed_at IS NOT NULL AND (
        SELECT count(DISTINCT f.token_id) < %(several_tokens)s
            AND NOT coalesce(bool_or(f.failing_since > last_image.closed_at), false)
        FROM generations f
        WHERE f.state = 'failed' AND f.closed_at > last_image.closed_at
            AND f.error_kind = ANY(%(unproven_kinds)s)
            AND f.token_id <> g.token_id) AS image_meanwhile
FROM (SELECT * FROM generations WHERE $fence) g
    LEFT JOIN tokens_s0 t USING (token_id)
    LEFT JOIN LATERAL (
        SELECT p.failures, p.charged, p.error_kind, CASE WHEN $is_recent THEN p.failing_since END
            AS failing_since
        FROM generations p
        WHERE p.token_id = g.token_id AND p.id < g.id AND t.generation_error IS NOT NULL
        ORDER BY p.id DESC LIMIT 1) p ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(p.failing_since, g.requested_at, g.opened_at) AS failing) since
    CROSS JOIN LATERAL (
        SELECT min(f.closed_at) AS failed_at FROM generations f
        WHERE f.token_id = g.token_id AND f.state = 'failed'
            AND f.closed_at >= since.failing) first
    LEFT JOIN LATERAL (
        SELECT o.closed_at FROM generations o
        WHERE o.state = 'succeeded' AND o.closed_at > since.failing
            AND o.requested_at > since.failing - interval '10 minutes'
            AND o.model = g.model AND o.token_id <> g.token_id
        ORDER BY o.closed_at DESC LIMIT 1) last_image ON true

-- name: end_incident
-- The model makes images again: tokens that wait for the end of the incident go on.
UPDATE tokens_s0 t SET generate_after = NULL
WHERE t.token_id IN (
    SELECT w.token_id FROM tokens_s0 w
        JOIN LATERAL (
            SELECT g.failures FROM generations g
            WHERE g.token_id = w.token_id ORDER BY g.id DESC LIMIT 1) last ON true
    WHERE w.status = $detected AND w.generate_after > now() AND isfinite(w.generate_after)
        AND last.failures > 0
    FOR NO KEY UPDATE OF w SKIP LOCKED)
RETURNING token_id

-- name: fail_attempt
WITH closed AS (
    UPDATE generations SET $known, closed_at = now(), state = 'failed', error_kind = %(kind)s,
        error_message = %(message)s, failures = %(failures)s, charged = %(charged)s,
        failing_since = %(failing_since)s, images = coalesce(%(images)s, images),
        predict_seconds = coalesce(%(predict_seconds)s, predict_seconds), cost = %(cost)s
    WHERE $fence
    RETURNING *
), token AS (
    UPDATE tokens_s0 t SET
        status = CASE WHEN %(token_fails)s THEN $failed ELSE $detected END,
        generate_after = CASE WHEN NOT %(token_fails)s
            THEN greatest($end_of_hold, now() + make_interval(secs => %(retry_seconds)s)) END,
        generation_attempts = greatest(t.generation_attempts + %(counted)s, 0),
        generation_error = %(error)s
    FROM closed g WHERE t.token_id = g.token_id AND $wanted
    RETURNING t.status
)
SELECT $result FROM closed

-- name: requeue
-- The token's own delay, if it has one, doubles with each refusal in a row that blames it. A pause
-- is no refusal, and fails no token.
WITH closed AS (
    UPDATE generations SET $known, closed_at = now(), state = 'refused', error_kind = %(reason)s,
        error_message = %(message)s,
        refusals = coalesce((SELECT p.refusals $from_previous_refusal), 0)
            + (%(own_seconds)s::float > 0)::integer,
        refused_since = CASE WHEN %(reason)s <> 'paused' THEN
            coalesce((SELECT p.refused_since $from_previous_refusal), opened_at) END,
        $failures_as_before
    WHERE $fence
    RETURNING *
), token AS (
    UPDATE tokens_s0 t SET
        status = CASE WHEN $given_up THEN $failed ELSE $detected END,
        generate_after = CASE WHEN NOT $given_up THEN greatest($end_of_hold, now() + make_interval(
            secs => greatest(%(retry_seconds)s::float, least(
                %(own_seconds)s::float * 2 ^ least(g.refusals - 1, 20),
                %(own_most_seconds)s::float)))) END,
        generation_error = %(error)s
    FROM closed g WHERE t.token_id = g.token_id AND $wanted
    RETURNING t.status
)
SELECT $result FROM closed

-- name: use_fallback
-- A second generation of the same attempt, held by this worker.
WITH $noticed, closed AS (
    UPDATE generations SET $known, state = 'failed', closed_at = now(),
        error_kind = %(kind)s, error_message = %(message)s, images = coalesce(%(images)s, images),
        predict_seconds = coalesce(%(predict_seconds)s, predict_seconds), cost = %(cost)s,
        $failures_as_before
    WHERE $fence
    RETURNING token_id, author, attempt, model
), g AS (
    INSERT INTO generations
        (token_id, author, attempt, model, seed, worker, lease_until, fallback, prompt)
    SELECT token_id, author, attempt, model, $seed, %(worker)s,
        now() + make_interval(secs => %(lease_seconds)s), true, %(fallback_prompt)s
    FROM (SELECT closed.*, 1 + (
            SELECT count(*) FROM generations p WHERE p.token_id = closed.token_id) AS number
        FROM closed) n
    RETURNING *
)
SELECT $claim_columns, false AS adopted, false AS postponed, $wanted AS wanted,
    $waited_seconds AS waited_seconds, $server AS server
FROM g LEFT JOIN tokens_s0 t USING (token_id)
    LEFT JOIN authors a ON a.id = t.author_id
    $join_unresolved
    $join_doubt

-- name: discarded
-- Divides by zero, which undoes the closing of the generation `g` in this transaction, if its token
-- has not changed: a trigger has discarded or reverted the change without an error.
SELECT 1 / (0 * length(t.status::text)) FROM generations g JOIN tokens_s0 t USING (token_id)
WHERE g.id = %(generation_id)s AND g.seed = %(seed)s AND g.token_id = %(token_id)s
    AND g.closed_at = now() AND $wanted AND (t.status = $generating OR g.state = 'succeeded')

-- name: keep
-- The database refuses to close a generation. It stays open with its decision, and is tried again
-- after as long as it has been refused, within bounds. The image is kept here, because Replicate
-- deletes it after an hour and a paid image is never asked for again.
UPDATE generations SET $known, worker = NULL,
    lease_until = now() + make_interval(secs => least(greatest(
        extract(epoch FROM now() - coalesce(closing_refused_at, now()))::float,
        %(shortest_seconds)s), %(longest_seconds)s)),
    closing = %(closing)s, closing_error = %(why)s,
    closing_refused_at = coalesce(closing_refused_at, now()),
    image_url = coalesce(%(url)s, image_url), images = coalesce(%(images)s, images),
    predict_seconds = coalesce(%(predict_seconds)s, predict_seconds),
    cost = coalesce(%(cost)s, cost),
    image_path = coalesce(%(path)s, image_path), image_sha256 = coalesce(%(sha256)s, image_sha256),
    handed_on_url = coalesce(%(handed_on)s, handed_on_url),
    error_kind = %(kind)s, error_message = %(message)s
WHERE $fence
RETURNING extract(epoch FROM lease_until - now())::float AS retry_seconds

-- name: hasten_closings
-- A decision that was refused could be written, so perhaps the others can be written too.
UPDATE generations SET lease_until = now()
WHERE id IN (
    SELECT id FROM generations
    WHERE state = 'open' AND closing IS NOT NULL AND worker IS NULL AND lease_until > now()
    FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id

-- name: postpone
UPDATE generations SET $known, worker = NULL,
    lease_until = now() + make_interval(secs => %(retry_seconds)s)
WHERE $fence
RETURNING id

-- name: holders
SELECT DISTINCT worker FROM generations WHERE state = 'open' AND worker IS NOT NULL

-- name: release
UPDATE generations SET lease_until = now() - interval '1 microsecond'
WHERE id IN (
    SELECT id FROM generations
    WHERE worker = ANY(%(of_workers)s::text[]) AND state = 'open'
        OR starts_with(worker, %(worker_prefix)s) AND worker <> %(worker)s AND state = 'open'
    FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id

-- name: known_predictions
-- Without those of this generation, which another worker may have adopted in the meantime.
SELECT prediction_id FROM generations
WHERE prediction_id = ANY(%(prediction_ids)s)
    AND NOT (id = %(generation_id)s AND seed = %(seed)s AND token_id = %(token_id)s)

-- name: record_duplicate
-- Duplicates have a table of their own: a row of `generations` would count as a generation of the
-- token, and change the seed of the next one. A duplicate is recorded again if a worker died before
-- it was cancelled.
INSERT INTO imagegen_duplicates AS known
    (prediction_id, generation_id, token_id, model, account, status, made_at)
SELECT %(duplicate_id)s, id, token_id, model, %(account)s, %(status)s,
    coalesce(%(made_at)s::timestamptz, now())
FROM generations WHERE $fence
ON CONFLICT (prediction_id) DO UPDATE SET status = known.status
RETURNING prediction_id

-- name: is_any_token_waiting
SELECT EXISTS (SELECT FROM tokens_s0 t WHERE t.status = $detected AND NOT $held)
    OR EXISTS (SELECT FROM tokens_s0 t WHERE t.status = $generating) AS is_waiting

-- fragment: reset
-- Open generations whose token an operator has set back to `detected`.
FROM generations g JOIN tokens_s0 t USING (token_id)
WHERE g.state = 'open' AND t.status = $detected AND $wanted

-- name: resets
SELECT g.token_id $reset

-- name: repair_statuses
-- `detected` with an open generation (an operator's reset) is generating. `generating` without one
-- is an orphan: another program may be at work on it, and pay. The rows do not show whether an
-- older worker has just taken a token or has abandoned it. So orphans are returned with a version,
-- which every write to the row changes. Only those that come back as `token_ids` and `versions`,
-- and are unchanged, wait again.
--
-- The open generation of another author is not the token's: a token that was minted anew stays
-- `detected` until that generation has ended, and is never made an orphan by it.
WITH orphaned AS (
    SELECT $token_id AS token_id, t.xmin::text AS version FROM tokens_s0 t
    WHERE t.status = $generating AND $token_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM generations g
        WHERE g.token_id = $token_id AND g.state = 'open' AND $wanted)
), abandoned AS (
    SELECT t.token_id FROM tokens_s0 t
    WHERE t.token_id IN (SELECT token_id FROM orphaned) AND (t.token_id, t.xmin::text) IN (
        SELECT * FROM unnest(%(token_ids)s::bigint[], %(versions)s::text[]))
        AND $but t.token_id = ANY(%(tokens)s::bigint[])
    FOR NO KEY UPDATE OF t SKIP LOCKED
), reset AS (
    SELECT t.token_id $reset
        AND $but g.token_id = ANY(%(tokens)s::bigint[])
    FOR NO KEY UPDATE OF g, t SKIP LOCKED
), waiting AS (
    UPDATE tokens_s0 t SET status = $detected, generate_after = $end_of_hold
    FROM abandoned WHERE t.token_id = abandoned.token_id
    RETURNING t.token_id
), at_work AS (
    UPDATE tokens_s0 t SET status = $generating
    FROM reset WHERE t.token_id = reset.token_id
    RETURNING t.token_id
)
SELECT (SELECT count(*) FROM waiting) + (SELECT count(*) FROM at_work) AS repaired,
    coalesce(array_agg(token_id ORDER BY token_id), '{}') AS token_ids,
    coalesce(array_agg(version ORDER BY token_id), '{}') AS versions
FROM orphaned

-- name: lock_daily_limit
SELECT pg_advisory_xact_lock(hashtextextended('imagegen daily limit', 0))

-- fragment: counted
-- A request that may have been accepted counts; one that was surely refused does not.
FROM generations
WHERE requested_at > now() - interval '24 hours'
    AND (prediction_id IS NOT NULL OR state = 'open' AND closing IS NULL
        OR error_kind = 'unresolved')

-- name: count_requests
SELECT count(*) AS requested, (
        SELECT count(*) FROM generations
        WHERE state = 'open' AND requested_at IS NULL AND closing IS NULL
    ) AS unsent
$counted

-- name: count_dollars
-- The dollars of these requests: the cost of each, or the most that it may cost. One without
-- either, because it is older than the price or was found in Replicate's list, counts by the time
-- that it took, if that is known and the price is by the second, or else like the next one. So does
-- a duplicate, which may be billed though it was cancelled. `spent` is without requests in flight.
SELECT coalesce(sum(dollars), 0) AS dollars,
    coalesce(sum(dollars) FILTER (WHERE state <> 'open'), 0) AS spent
FROM (
    SELECT state, coalesce(cost, estimated_cost,
        CASE WHEN state <> 'open' THEN predict_seconds::numeric * %(second_dollars)s::numeric END,
        %(estimated_cost)s::numeric) AS dollars $counted
    UNION ALL
    SELECT 'cancelled', %(estimated_cost)s::numeric FROM imagegen_duplicates d
    WHERE d.made_at > now() - interval '24 hours' AND NOT EXISTS (
        SELECT FROM generations g WHERE g.prediction_id = d.prediction_id)
) counted
