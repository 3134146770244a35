-- fragment: row
g.id AS generation_id, g.token_id, g.model, g.seed, g.prompt, g.prediction_id, g.account, g.state,
g.requested_at, g.images

-- name: by_ids
SELECT $row, false AS is_duplicate FROM generations g WHERE g.prediction_id = ANY(%(ids)s)
UNION ALL
SELECT d.generation_id, d.token_id, d.model, NULL, NULL, d.prediction_id, d.account, d.status,
    d.made_at, NULL, true
FROM imagegen_duplicates d WHERE d.prediction_id = ANY(%(ids)s)

-- name: by_seeds
-- Generations without a recorded request count too. The request may be recorded in a generation
-- that the database has lost since, as after a failover.
SELECT $row FROM generations g
WHERE g.seed = ANY(%(seeds)s::bigint[]) AND (
    g.requested_at BETWEEN %(since)s AND %(until)s
    OR g.state = 'open'
    OR g.requested_at IS NULL AND g.state IN ('failed', 'refused')
        AND g.closed_at BETWEEN %(since)s AND %(until)s)
ORDER BY g.id DESC

-- name: nearby
-- The request of each prediction by its time: the last one before it, else the first one after it,
-- with the same prompt if the prediction still has one. Prompts are compared by digest, because
-- another program's prompt may have characters that the database cannot store.
SELECT wanted.id AS of_prediction, g.*
FROM unnest(%(ids)s::text[], %(made_at)s::timestamptz[], %(digests)s::text[])
    AS wanted (id, made_at, digest)
CROSS JOIN LATERAL (
    SELECT $row FROM generations g
    WHERE g.requested_at BETWEEN wanted.made_at - make_interval(secs => %(apart_seconds)s)
            AND wanted.made_at + make_interval(secs => %(apart_seconds)s)
        AND (wanted.digest IS NULL
            OR encode(sha256(convert_to(g.prompt, 'UTF8')), 'hex') = wanted.digest)
    ORDER BY g.requested_at > wanted.made_at, abs(extract(epoch FROM g.requested_at - wanted.made_at))
    LIMIT 1) g

-- name: unseen
SELECT $row FROM generations g
WHERE g.requested_at >= %(low)s AND g.requested_at < %(high)s
    AND g.prediction_id IS NOT NULL AND g.state <> 'open'
    AND NOT g.prediction_id = ANY(%(seen)s)

-- name: now
SELECT now()

-- name: record
INSERT INTO imagegen_audits (at, since, until, account, counts, unexplained)
VALUES (now(), %(since)s, %(until)s, %(account)s, %(counts)s, %(unexplained)s)
