-- Figures of the queue. `stats` is for `imagegen status`, which counts every token. `scraped` is for
-- /metrics, which is asked every few seconds, and the status page is in page.sql of imagegen.web:
-- both count up to a limit. They share the fragments here.

-- fragment: oldest_waiting_seconds
(SELECT extract(epoch FROM now() - $minted_at)::float FROM tokens_s0 t
 WHERE t.status = $detected AND isfinite(t.created_at) AND NOT $held
 ORDER BY t.created_at LIMIT 1)

-- fragment: oldest_unfetched_seconds
-- An image is unfetched until the next stage changes its token's status. A token with another URL
-- had new attempts since. The aggregate makes PostgreSQL look up the token of each image: a join
-- with a million tokens takes a second. Only the last day matters, because Replicate deletes images
-- after an hour. At most 10,000 images are checked, which takes 15 ms if all were fetched. If the
-- oldest 10,000 of the day were all fetched, look at the newest 10,000.
coalesce((
    SELECT extract(epoch FROM now() - closed_at)::float FROM (
        SELECT token_id, coalesce(handed_on_url, image_url) AS url, closed_at FROM generations
        WHERE state = 'succeeded' AND closed_at > now() - interval '1 day'
        ORDER BY closed_at ASC LIMIT 10000) image
    WHERE (
        SELECT bool_or(t.status = $uploading AND t.image_url = image.url)
        FROM tokens_s0 t WHERE t.token_id = image.token_id) ORDER BY closed_at LIMIT 1), (
    SELECT extract(epoch FROM now() - closed_at)::float FROM (
        SELECT token_id, coalesce(handed_on_url, image_url) AS url, closed_at FROM generations
        WHERE state = 'succeeded' AND closed_at > now() - interval '1 day'
        ORDER BY closed_at DESC LIMIT 10000) image
    WHERE (
        SELECT bool_or(t.status = $uploading AND t.image_url = image.url)
        FROM tokens_s0 t WHERE t.token_id = image.token_id) ORDER BY closed_at LIMIT 1))

-- fragment: closings_refused
(SELECT count(*) FROM generations WHERE state = 'open' AND closing IS NOT NULL)

-- fragment: odd
-- Odd tokens by kind, at most 1000 of each: see odd_tokens.py. Those in `generations` were tried
-- within the last hour, and have no later generation.
SELECT * FROM (
    SELECT 'no_status' AS kind, NULL AS reason, t.token_id::text AS token_id FROM tokens_s0 t
    WHERE $status_is_null LIMIT 1000) odd
UNION ALL SELECT * FROM (
    SELECT 'other_case', NULL, t.token_id::text FROM tokens_s0 t
    WHERE t.status IN ($misspelt) LIMIT 1000) odd
UNION ALL SELECT * FROM (
    SELECT 'no_number', NULL, t.token_id::text FROM tokens_s0 t
    WHERE t.status = $detected AND $token_id IS NULL LIMIT 1000) odd
UNION ALL SELECT * FROM (
    SELECT 'no_number', NULL, t.token_id::text FROM tokens_s0 t
    WHERE t.status = $generating AND $token_id IS NULL LIMIT 1000) odd
UNION ALL SELECT * FROM (
    SELECT 'not_before', NULL, t.token_id::text FROM tokens_s0 t
    WHERE t.status = $detected AND t.generate_after > now() + interval '1 day' AND NOT $held
    LIMIT 1000) odd
UNION ALL SELECT * FROM (
    SELECT DISTINCT ON (g.token_id) 'set_aside', g.error_message, g.token_id::text
    FROM generations g
    WHERE g.state = 'refused' AND g.error_kind = 'set_aside'
        AND g.closed_at > now() - interval '1 hour'
        AND EXISTS (
            SELECT FROM tokens_s0 t
            WHERE t.token_id = g.token_id AND t.status IN ($detected, $generating))
        AND NOT EXISTS (
            SELECT FROM generations later WHERE later.token_id = g.token_id AND later.id > g.id)
    ORDER BY g.token_id LIMIT 1000) odd

-- name: odd_tokens
SELECT kind, reason, count(*),
    (array_agg(coalesce(token_id, 'NULL') ORDER BY length(token_id), token_id))[:%(named)s]
FROM ($odd) odd GROUP BY kind, reason ORDER BY kind, reason

-- fragment: unsent
-- A generation that has no prediction yet. A request without an answer may have made one:
-- Replicate's list shows it, mostly within five minutes. After ten minutes the generation counts as
-- unsent.
state = 'open' AND prediction_id IS NULL AND closing IS NULL
    AND (requested_at IS NULL OR requested_at < now() - interval '10 minutes')

-- name: any_waits
-- Whether a token waits to be sent: it can be claimed, or was claimed and is unsent. Each part is
-- in the order of an index, so that none reads all rows of a table. The last tables are named so
-- that their absence is an error.
SELECT EXISTS (
        SELECT FROM (
            SELECT FROM tokens_s0 t WHERE t.status = $detected AND NOT $held
            ORDER BY t.created_at LIMIT 1) first)
    OR EXISTS (SELECT FROM generations WHERE $unsent)
    OR EXISTS (
        SELECT FROM authors, imagegen_servers, imagegen_duplicates, imagegen_audits, imagegen_acts
        LIMIT 0) AS waits

-- fragment: tokens_counted
-- Labels of a status may differ in case only. Counting each label, then adding up, is fast.
(SELECT coalesce(jsonb_object_agg(status, counted), '{}') FROM (
    SELECT coalesce(lower(status::text), 'none') AS status, sum(counted)::bigint AS counted
    FROM (
        SELECT status, count(*) AS counted FROM tokens_s0 GROUP BY status) labels
    GROUP BY 1) counted)

-- fragment: tokens_estimated
-- The tokens of a status with an index are counted up to $counted_up_to; beyond that PostgreSQL's
-- estimate for the index counts. For every other status it is the share in the statistics. A table
-- without statistics is counted.
(SELECT CASE
    WHEN few.counted <= $counted_up_to OR estimated.tokens <= few.counted OR shares.known IS NULL
    THEN $tokens_counted
    ELSE shares.known || jsonb_build_object('detected',
        (SELECT CASE WHEN counted <= $counted_up_to THEN counted
                ELSE greatest(counted, (SELECT reltuples::bigint FROM pg_class
                    WHERE oid = to_regclass('imagegen_tokens_detected'))) END
         FROM (SELECT count(*) AS counted FROM (
            SELECT FROM tokens_s0 t WHERE t.status = $detected LIMIT $counted_up_to + 1) few) few),
        'generating', (SELECT count(*) FROM tokens_s0 t WHERE t.status = $generating),
        'failed',
        (SELECT CASE WHEN counted <= $counted_up_to THEN counted
                ELSE greatest(counted, (SELECT reltuples::bigint FROM pg_class
                    WHERE oid = to_regclass('imagegen_tokens_failed'))) END
         FROM (SELECT count(*) AS counted FROM (
            SELECT FROM tokens_s0 t WHERE t.status = $failed LIMIT $counted_up_to + 1) few) few))
    END
 FROM (SELECT count(*) AS counted FROM (
        SELECT FROM tokens_s0 t LIMIT $counted_up_to + 1) few) few,
    (SELECT max(reltuples)::bigint AS tokens FROM pg_class
     WHERE oid = to_regclass('tokens_s0')) estimated,
    (SELECT jsonb_object_agg(status, tokens) AS known FROM (
        SELECT lower(label) AS status, sum(share * c.reltuples)::bigint AS tokens
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname
                AND s.attname = 'status' AND NOT s.inherited,
            unnest(s.most_common_vals::text::text[], s.most_common_freqs) known(label, share)
        WHERE c.oid = to_regclass('tokens_s0') GROUP BY 1) of_status) shares)

-- fragment: expires
-- Images that the next stage has not fetched, without a copy, whose URL ends after an hour.
state = 'succeeded' AND image_path IS NULL AND starts_with(image_url, 'http')

-- fragment: unfetched
(SELECT bool_or(t.status = $uploading AND t.image_url = image.image_url)
 FROM tokens_s0 t WHERE t.token_id = image.token_id)

-- fragment: figures
(SELECT coalesce(jsonb_object_agg(kind, counted), '{}') FROM (
    SELECT kind, count(*) AS counted FROM ($odd) odd GROUP BY kind) counted) AS tokens_set_aside,
(SELECT count(*) FROM generations WHERE $unsent) AS tokens_unsent,
(SELECT count(*) FROM tokens_s0 t WHERE t.status = $detected AND $held) AS tokens_held,
$pause_as_json AS pause, $limits AS limits,
$oldest_waiting_seconds AS oldest_waiting_seconds,
(SELECT extract(epoch FROM now() - min(opened_at))::float FROM generations
 WHERE state = 'open' AND closing IS NULL) AS oldest_generating_seconds,
$closings_refused AS closings_refused,
$oldest_unfetched_seconds AS oldest_unfetched_seconds,
(SELECT extract(epoch FROM now() - closed_at)::float FROM (
    SELECT token_id, image_url, closed_at FROM generations
    WHERE $expires AND closed_at > now() - interval '1 hour'
    ORDER BY closed_at LIMIT 10000) image
 WHERE $unfetched ORDER BY closed_at LIMIT 1) AS oldest_expiring_seconds,
(SELECT count(*) FROM (
    SELECT token_id, image_url FROM generations
    WHERE $expires AND closed_at > now() - interval '1 day'
        AND closed_at <= now() - interval '1 hour'
    ORDER BY closed_at DESC LIMIT 10000) image
 WHERE $unfetched) AS images_lost,
audit.unexplained AS audit_unexplained, audit.age_seconds AS audit_age_seconds,
last_day.*, last_hour.*
FROM (
    SELECT count(*) AS predictions_last_day,
        coalesce(sum(images) FILTER (WHERE state <> 'failed'), 0) AS images_last_day,
        sum(cost)::float AS dollars_last_day
    FROM generations
    WHERE requested_at > now() - interval '24 hours' AND prediction_id IS NOT NULL) last_day, (
    SELECT count(*) AS images_last_hour,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS p50_seconds,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95_seconds
    FROM (
        SELECT extract(epoch FROM closed_at - opened_at)::float AS seconds FROM generations
        WHERE closed_at > now() - interval '1 hour' AND state = 'succeeded') made) last_hour
LEFT JOIN (
    SELECT unexplained, extract(epoch FROM now() - at)::float AS age_seconds
    FROM imagegen_audits ORDER BY at DESC LIMIT 1) audit ON true

-- name: stats
SELECT $tokens_counted AS tokens, $figures

-- name: scraped
SELECT $tokens_estimated AS tokens, $figures
