-- What `imagegen tokens` reads, and what `tokens retry` changes.

-- fragment: token
-- Times are ISO 8601 text: Python has no datetime for infinity, which an operator may have set.
-- A mint that is ahead of the clock is 0 seconds old.
t.token_id, a.wallet_address::text AS author, left(a.prompt_text::text, 100000) AS author_prompt,
    lower(t.status::text) AS status, to_json($minted_at) #>> '{}' AS created_at,
    CASE WHEN isfinite($minted_at)
        THEN greatest(extract(epoch FROM now() - $minted_at), 0)::float END AS age_seconds,
    t.generation_attempts, t.generation_error,
    to_json(t.generate_after) #>> '{}' AS generate_after, t.image_url

-- fragment: newest_kind
-- The kind of failure of a token's newest generation. With LIMIT 1 the planner might walk the
-- primary key.
(SELECT (array_agg(g.error_kind ORDER BY g.id DESC))[1]
    FROM generations g WHERE g.token_id = $token_id)

-- fragment: own
-- Whether a generation `g` was for the present author of its token `t`. A token that was deleted, and
-- minted again for another author, has no image yet. Generations of older versions have no author.
coalesce(t.author_id::text = g.author, g.author IS NULL)

-- name: list
-- Authors and generations are looked up only for the tokens that are shown, not for all that are
-- sorted. $filters are some of the conditions below.
SELECT $token, $newest_kind AS error_kind
FROM (
    SELECT token_id, author_id, status, created_at, generation_attempts, generation_error,
        generate_after, image_url
    FROM tokens_s0 t WHERE $filters
    ORDER BY t.created_at DESC NULLS LAST, t.token_id DESC LIMIT %(limit)s
) t LEFT JOIN authors a ON a.id = t.author_id
ORDER BY t.created_at DESC NULLS LAST, t.token_id DESC

-- name: with_statuses
lower(t.status::text) = ANY(%(statuses)s)

-- name: with_author
-- Wallets are written in either case.
t.author_id IN (SELECT id FROM authors WHERE lower(wallet_address) = lower(%(author)s))

-- name: with_older
$minted_at <= %(older)s

-- name: with_newer
$minted_at >= %(newer)s

-- name: with_error_kind
-- Written as two joins: with a million tokens they are faster than a lookup for each.
EXISTS (
    SELECT FROM generations g
    WHERE g.token_id = t.token_id AND g.error_kind = %(error_kind)s AND NOT EXISTS (
        SELECT FROM generations later WHERE later.token_id = g.token_id AND later.id > g.id))

-- name: statuses
-- The labels of an enum count even if no token has them.
SELECT lower(t.status::text) FROM tokens_s0 t WHERE t.status IS NOT NULL
UNION SELECT lower(enumlabel) FROM pg_enum JOIN pg_attribute ON atttypid = enumtypid
WHERE attrelid = to_regclass('tokens_s0') AND attname = 'status'

-- name: show
SELECT $token, $newest_kind AS error_kind
FROM tokens_s0 t LEFT JOIN authors a ON a.id = t.author_id WHERE t.token_id = %s

-- name: generations
SELECT id, attempt, state, error_kind, error_message, prompt, fallback, model, seed,
    prediction_id, to_json(opened_at) #>> '{}' AS opened_at,
    to_json(requested_at) #>> '{}' AS requested_at, to_json(closed_at) #>> '{}' AS closed_at,
    extract(epoch FROM coalesce(closed_at, now()) - opened_at)::float AS duration_seconds,
    predict_seconds, images, cost::text AS cost, image_url, image_path, image_sha256,
    handed_on_url, worker,
    to_json(lease_until) #>> '{}' AS lease_until, refusals,
    to_json(refused_since) #>> '{}' AS refused_since, closing_error,
    to_json(closing_refused_at) #>> '{}' AS closing_refused_at
FROM generations WHERE token_id = %s ORDER BY id DESC LIMIT %s

-- name: snapshots
-- `image` is the newest generation that made an image of the token. One subquery reads all that is
-- needed of a token's generations: a join with all images takes seconds.
SELECT t.token_id, lower(t.status::text) AS status, t.image_url, newest.error_kind, closing_error,
    coalesce(t.generate_after = 'infinity', false) AS is_held,
    (image).id AS image_id, (image).image_url AS made_url, (image).image_path AS copy_path,
    (image).handed_on_url AS recorded_url,
    coalesce((image).closed_at < now() - make_interval(secs => %(retention_seconds)s), false)
        AS is_expired
FROM tokens_s0 t, LATERAL (
    SELECT (array_agg(g.error_kind ORDER BY g.id DESC))[1] AS error_kind,
        (array_agg(g ORDER BY g.id DESC) FILTER (WHERE g.state = 'succeeded' AND $own))[1] AS image,
        max(g.closing_error) FILTER (WHERE g.state = 'open') AS closing_error
    FROM generations g WHERE g.token_id = $token_id) newest

-- name: with_token_ids
t.token_id = ANY(%(token_ids)s)

-- name: hasten
-- The end of these tokens, which the database refused to write, is tried again at once.
UPDATE generations SET lease_until = now()
WHERE token_id = ANY(%s) AND state = 'open' AND closing IS NOT NULL AND worker IS NULL
    AND lease_until > now()

-- name: with_failed_since
-- A failed token that was minted after that time has also failed after it.
t.status = $failed AND (
    $minted_at >= %(since)s
    OR EXISTS (
        SELECT FROM generations g WHERE g.token_id = t.token_id AND g.closed_at >= %(since)s))

-- fragment: note
-- The record of what an operator has done to each token that was `changed`.
INSERT INTO imagegen_acts (who, act, token_id, details)
SELECT %(who)s || ' as ' || session_user, 'retry', token_id, jsonb_build_object('how', %(how)s::text)
FROM changed

-- name: hand_on
-- Fenced on the snapshot, here and below: a token that a worker, the next stage or another operator
-- has changed since then is not touched.
WITH changed AS (
    UPDATE tokens_s0 t SET status = $uploading, image_url = seen.handed_on_url,
        generation_error = NULL, generate_after = NULL
    FROM unnest(%(token_ids)s::bigint[], %(statuses)s::text[], %(image_urls)s::text[],
            %(image_ids)s::bigint[], %(handed_on_urls)s::text[])
        AS seen (token_id, status, image_url, image_id, handed_on_url)
        JOIN generations g ON g.id = seen.image_id
    WHERE t.token_id = seen.token_id AND lower(t.status::text) = seen.status
        AND t.image_url IS NOT DISTINCT FROM seen.image_url AND $own
    RETURNING seen.token_id, seen.image_id, seen.handed_on_url
), recorded AS (
    UPDATE generations g SET handed_on_url = nullif(changed.handed_on_url, g.image_url)
    FROM changed WHERE g.id = changed.image_id
)
$note

-- name: retry_with_fallback
-- The operator's request is recorded as a fallback generation that was never sent. As after any
-- other fallback generation, claims use the fallback prompt until the token's error is cleared.
WITH changed AS (
    UPDATE tokens_s0 t SET status = $detected, generation_attempts = 0,
        generation_error = %(reason)s, generate_after = NULL, image_url = NULL
    FROM unnest(%(token_ids)s::bigint[], %(statuses)s::text[], %(image_urls)s::text[])
        AS seen (token_id, status, image_url)
    WHERE t.token_id = seen.token_id AND lower(t.status::text) = seen.status
        AND t.image_url IS NOT DISTINCT FROM seen.image_url
    RETURNING seen.token_id, t.author_id::text AS author
), asked AS (
    INSERT INTO generations (token_id, author, attempt, model, seed, fallback, state, lease_until,
        closed_at, error_message)
    SELECT token_id, author, 1, coalesce((SELECT max(g.model) FROM generations g
            WHERE g.token_id = changed.token_id), ''), 0, true, 'refused', now(), now(), %(reason)s
    FROM changed
)
$note

-- name: retry
-- If a generation of the token is open, it goes on, and the token gets its image.
WITH changed AS (
    UPDATE tokens_s0 t SET status = $detected, generation_attempts = 0, generation_error = NULL,
        generate_after = NULL, image_url = NULL
    FROM unnest(%(token_ids)s::bigint[], %(statuses)s::text[], %(image_urls)s::text[])
        AS seen (token_id, status, image_url)
    WHERE t.token_id = seen.token_id AND lower(t.status::text) = seen.status
        AND t.image_url IS NOT DISTINCT FROM seen.image_url
    RETURNING seen.token_id
)
$note
