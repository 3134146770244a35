-- The requests that Replicate accepted: the ledger, the totals of pruned rows, and the pruning.

-- fragment: entry
-- A generation as a part of the bill: `billing` is yes, perhaps or no. Rows from before the column
-- `images` have one image each.
(requested_at AT TIME ZONE 'UTC')::date AS day, model, coalesce(author, '') AS author,
    CASE WHEN state <> 'failed' THEN state
        ELSE 'failed: ' || coalesce(error_kind, 'unknown') END AS outcome,
    CASE WHEN image_url IS NOT NULL OR coalesce(error_kind = ANY(%(billed)s), false) THEN 'yes'
        WHEN coalesce(error_kind = ANY(%(perhaps)s), false) THEN 'perhaps'
        WHEN cost > 0 THEN 'yes' ELSE 'no' END AS billing,
    cost IS NOT NULL AS is_priced, 1 AS requests,
    (prediction_id IS NOT NULL)::integer AS predictions, greatest(images, 1) AS images,
    coalesce(predict_seconds, 0) AS predict_seconds, coalesce(cost, 0) AS cost

-- fragment: accepted
-- A request that Replicate accepted, or may have accepted.
(prediction_id IS NOT NULL OR error_kind = %(unresolved)s)

-- fragment: sums
sum(requests)::bigint AS requests, sum(predictions)::bigint AS predictions,
    sum(CASE WHEN billing = 'no' THEN 0 ELSE images END)::bigint AS images,
    sum(predict_seconds) AS predict_seconds, sum(cost) AS cost

-- name: spend
-- Totals are for whole days. A duplicate was cancelled: it is billed if it had succeeded before, and
-- perhaps billed otherwise. Its request was for as many images as that of its generation.
SELECT day, model, CASE WHEN %(by_author)s THEN author ELSE '' END AS author, outcome, billing,
    is_priced, $sums
FROM (
    SELECT $entry FROM generations WHERE requested_at >= %(since)s AND $accepted
    UNION ALL
    SELECT day, model, author, outcome, billing, is_priced, requests, predictions, images,
        predict_seconds, cost
    FROM imagegen_spend_totals WHERE day >= (%(since)s AT TIME ZONE 'UTC')::date
    UNION ALL
    SELECT (d.made_at AT TIME ZONE 'UTC')::date, d.model, '', 'duplicate',
        CASE WHEN d.status = 'succeeded' THEN 'yes' ELSE 'perhaps' END, false, 1, 1,
        greatest(own.images, 1), 0, 0
    FROM imagegen_duplicates d
    LEFT JOIN generations own ON own.id = d.generation_id AND own.token_id = d.token_id
    WHERE d.made_at >= %(since)s AND NOT EXISTS (
        SELECT FROM generations g WHERE g.prediction_id = d.prediction_id)
) entries
GROUP BY 1, 2, 3, 4, 5, 6
ORDER BY 1, 2, 4, 3

-- name: wallets
SELECT id::text, wallet_address::text FROM authors WHERE id::text = ANY(%s)

-- name: prunable
-- The time before which old rows have ended, how many there are, and their least and greatest id.
SELECT now() - make_interval(secs => %(older_seconds)s) AS before, count(*) AS generations,
    coalesce(min(id), 0) AS first, coalesce(max(id), 0) AS last
FROM generations
WHERE state <> 'open' AND closed_at < now() - make_interval(secs => %(older_seconds)s)

-- name: lock_prune
-- Two prunes at once take turns.
SELECT pg_advisory_xact_lock(hashtextextended('imagegen prune', 0))

-- fragment: step
SELECT id, token_id FROM generations
WHERE id > %(after)s AND id <= %(last)s ORDER BY id LIMIT %(rows)s

-- fragment: handed_on
SELECT t.token_id FROM tokens_s0 t
WHERE t.token_id = ANY(ARRAY(SELECT token_id FROM step))
    AND lower(t.status::text) NOT IN ('detected', 'generating', 'failed')
    AND (lower(t.status::text) <> 'uploading' OR NOT EXISTS (
        SELECT FROM generations g WHERE g.token_id = t.token_id AND g.image_path IS NOT NULL OFFSET 0))

-- fragment: over
-- The tokens of this step whose rows can be deleted. A token's rows are deleted all together or not
-- at all, and only if it was handed on or deleted.
--
-- A token that waits, is at work, or has failed and may be tried again keeps its rows. The seed of
-- its next generation is made of their number, and by the seeds of the earlier numbers a new server
-- searches for requests that it has lost (after a failover).
--
-- A token that was handed on or deleted may be minted or tried again after all. Then its numbers,
-- and with them its seeds, start again. That is safe: all its earlier requests are at least two days
-- old, and Replicate deletes their seeds after an hour.
--
-- The rows of a token also stay if it is unknown whether a request was paid for, and if the next
-- stage has not taken its image and there is a copy, which `tokens retry` may hand on.
SELECT s.token_id FROM (SELECT DISTINCT token_id FROM step) s
WHERE (s.token_id IN (SELECT token_id FROM handed_on)
        OR NOT EXISTS (SELECT FROM tokens_s0 t WHERE t.token_id = s.token_id))
    AND NOT EXISTS (
        SELECT FROM generations g
        WHERE g.token_id = s.token_id AND (g.state = 'open' OR g.closed_at >= %(before)s
            OR g.requested_at >= %(before)s OR g.error_kind = %(unresolved)s) OFFSET 0)

-- fragment: pruned_columns
-- `paths` are of copies to delete. A copy stays if a token's URL leads to it: it may be all that is
-- left of the image.
(SELECT max(id) FROM step) AS last, (SELECT count(*) FROM pruned) AS generations,
    (SELECT count(DISTINCT token_id) FROM pruned) AS tokens,
    ARRAY(SELECT p.image_path FROM pruned p
        WHERE p.image_path IS NOT NULL AND NOT starts_with(coalesce(p.image_url, ''), 'file:')
            AND NOT EXISTS (
                SELECT FROM tokens_s0 t
                WHERE t.token_id = p.token_id AND (starts_with(t.image_url::text, 'file:')
                    OR t.image_url::text = p.handed_on_url)))
        AS paths

-- name: would_prune
WITH step AS ($step), handed_on AS ($handed_on), over AS ($over), pruned AS (
    SELECT * FROM generations
    WHERE token_id = ANY(ARRAY(SELECT token_id FROM over)) AND id = ANY(ARRAY(SELECT id FROM step))
)
SELECT $pruned_columns

-- name: prune
-- One statement deletes rows and adds them to the totals. A token whose row another session has
-- locked is left to the next run. The lock on the others lasts as long as this statement, and only
-- a change of their rows waits for it.
WITH step AS ($step), handed_on AS ($handed_on FOR SHARE OF t SKIP LOCKED), over AS ($over),
pruned AS (
    DELETE FROM generations WHERE token_id = ANY(ARRAY(SELECT token_id FROM over))
    RETURNING *
), totals AS (
    INSERT INTO imagegen_spend_totals AS t (day, model, author, outcome, billing, is_priced,
        requests, predictions, images, predict_seconds, cost)
    SELECT day, model, author, outcome, billing, is_priced, $sums
    FROM (SELECT $entry FROM pruned WHERE requested_at IS NOT NULL AND $accepted) entries
    GROUP BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (day, model, author, outcome, billing, is_priced) DO UPDATE SET
        requests = t.requests + excluded.requests,
        predictions = t.predictions + excluded.predictions,
        images = t.images + excluded.images,
        predict_seconds = t.predict_seconds + excluded.predict_seconds,
        cost = t.cost + excluded.cost
)
SELECT $pruned_columns
