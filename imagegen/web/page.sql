-- What the status page shows. Its statements must be quick among millions of rows: each status of
-- imagegen has an index of its own, and so have the ends of generations.
-- $oldest_waiting_seconds and $oldest_unfetched_seconds are in queue_stats.sql of imagegen.database.

-- name: snapshot
-- Up to $counted_up_to rows are counted. If there are more, PostgreSQL's estimate is used if it has
-- one. The estimate for a status is that of its index, which has only the rows with that status.
WITH ten_minutes AS (
    SELECT start, to_timestamp(start) AS since, to_timestamp(start + $bucket_seconds) AS until
    FROM (SELECT $bucket_seconds * (
            floor(extract(epoch FROM now()) / $bucket_seconds)::bigint - ago) AS start
        FROM generate_series(0, $buckets - 1) ago) starts)
SELECT extract(epoch FROM now())::float AS now,
    (SELECT CASE WHEN counted <= $counted_up_to THEN counted
            WHEN estimated > counted THEN estimated
            ELSE (SELECT count(*) FROM tokens_s0 t) END
     FROM (SELECT count(*) AS counted FROM (
            SELECT FROM tokens_s0 t LIMIT $counted_up_to + 1) few) few,
        coalesce((SELECT reltuples::bigint FROM pg_class
            WHERE oid = to_regclass('tokens_s0')), 0) AS estimated) AS tokens,
    (SELECT CASE WHEN counted <= $counted_up_to THEN counted
            WHEN estimated > counted THEN estimated
            ELSE (SELECT count(*) FROM tokens_s0 t WHERE t.status = $detected) END
     FROM (SELECT count(*) AS counted FROM (
            SELECT FROM tokens_s0 t WHERE t.status = $detected LIMIT $counted_up_to + 1) few) few,
        coalesce((SELECT reltuples::bigint FROM pg_class
            WHERE oid = to_regclass('imagegen_tokens_detected')), 0) AS estimated) AS waiting,
    (SELECT count(*) FROM tokens_s0 t WHERE t.status = $generating) AS generating,
    (SELECT CASE WHEN counted <= $counted_up_to THEN counted
            WHEN estimated > counted THEN estimated
            ELSE (SELECT count(*) FROM tokens_s0 t WHERE t.status = $failed) END
     FROM (SELECT count(*) AS counted FROM (
            SELECT FROM tokens_s0 t WHERE t.status = $failed LIMIT $counted_up_to + 1) few) few,
        coalesce((SELECT reltuples::bigint FROM pg_class
            WHERE oid = to_regclass('imagegen_tokens_failed')), 0) AS estimated) AS failed,
    $oldest_waiting_seconds AS oldest_waiting_seconds,
    -- This and the next figure are of the first 1000 waiting tokens.
    (SELECT count(*) FROM (
        SELECT generate_after FROM tokens_s0 t WHERE t.status = $detected
        ORDER BY t.created_at LIMIT 1000) waiting
     WHERE generate_after > now() AND isfinite(generate_after)) AS paused,
    (SELECT count(*) FROM (
        SELECT $held AS is_held FROM tokens_s0 t WHERE t.status = $detected
        ORDER BY t.created_at LIMIT 1000) waiting
     WHERE is_held) AS held,
    $pause_as_json AS pause,
    (SELECT count(*) FROM (
        SELECT token_id, coalesce(handed_on_url, image_url) AS url FROM generations
        WHERE state = 'succeeded' AND closed_at > now() - interval '1 day'
        ORDER BY closed_at DESC LIMIT $unfetched_up_to + 1) image
     WHERE (
        SELECT bool_or(t.status = $uploading AND t.image_url = image.url)
        FROM tokens_s0 t WHERE t.token_id = image.token_id)) AS unfetched,
    $oldest_unfetched_seconds AS oldest_unfetched_seconds,
    $closings_refused AS closings_refused,
    (SELECT coalesce(json_object_agg(worker, tokens), '{}') FROM (
        SELECT coalesce(worker, '') AS worker, count(*) AS tokens
        FROM generations WHERE state = 'open' GROUP BY 1) workers) AS tokens_by_worker,
    (SELECT json_agg(ended ORDER BY start) FROM (
        SELECT start,
            (SELECT count(*) FROM generations WHERE state = 'succeeded'
                AND closed_at >= since AND closed_at < until) AS images,
            (SELECT count(*) FROM generations WHERE state = 'failed'
                AND closed_at >= since AND closed_at < until) AS failed
        FROM ten_minutes) ended) AS ended,
    -- The times of each ten minutes are those of its last 1000 images.
    (SELECT json_agg(times) FROM (
        SELECT start, percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS p50_seconds,
            percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95_seconds
        FROM ten_minutes, LATERAL (
            SELECT extract(epoch FROM closed_at - opened_at)::float AS seconds FROM generations
            WHERE state = 'succeeded' AND closed_at >= since AND closed_at < until
            ORDER BY closed_at DESC LIMIT 1000) made
        GROUP BY GROUPING SETS ((start), ())) times) AS times,
    (SELECT coalesce(json_agg(latest), '[]') FROM (
        SELECT id AS generation_id, token_id, coalesce(left(prompt, $prompt_characters), '')
            AS prompt, fallback, image_url AS url, image_path AS path, handed_on_url,
            extract(epoch FROM closed_at) AS closed_at,
            extract(epoch FROM now() - closed_at) AS age_seconds
        FROM generations WHERE state = 'succeeded'
        ORDER BY generations.closed_at DESC, id DESC LIMIT $pictures) latest) AS pictures,
    -- No index has the times of failures: the latest are those of the 200 newest mints that failed.
    (SELECT coalesce(json_agg(latest), '[]') FROM (
        SELECT t.token_id, CASE WHEN t.generation_attempts BETWEEN -1000000 AND 1000000
                THEN t.generation_attempts::integer ELSE 0 END AS attempts,
            left(coalesce(a.prompt_text::text, g.prompt), $prompt_characters) AS prompt,
            left(t.generation_error, $message_characters) AS message,
            g.error_kind AS kind, coalesce(g.state = 'refused', false) AS refused,
            extract(epoch FROM ended_at) AS closed_at,
            extract(epoch FROM now() - ended_at) AS age_seconds
        FROM (
            SELECT token_id, author_id, generation_attempts, generation_error, created_at
            FROM tokens_s0 t WHERE t.status = $failed
            ORDER BY t.created_at DESC LIMIT 200) t
        LEFT JOIN LATERAL (
            -- Without `+ 0` and without statistics, the planner would walk the primary key.
            SELECT prompt, error_kind, state, closed_at FROM generations g
            WHERE g.token_id = $token_id ORDER BY g.id + 0 DESC LIMIT 1) g ON true
        -- The recorded time of a mint need not be a real one.
        CROSS JOIN LATERAL (
            SELECT coalesce(g.closed_at, CASE WHEN t.created_at BETWEEN '1970-01-01'
                AND now() + interval '1 day' THEN $minted_at END) AS ended_at) ended
        LEFT JOIN authors a ON a.id = t.author_id
        ORDER BY age_seconds LIMIT $failures) latest) AS failures,
    -- The newest mints that failed, counted by the kind of their newest generation.
    (SELECT coalesce(json_agg(kinds ORDER BY tokens DESC, kind), '[]') FROM (
        SELECT kind, count(*) AS tokens FROM (
            SELECT (SELECT (array_agg(
                        CASE WHEN g.state = 'refused' THEN 'given_up' ELSE g.error_kind END
                        ORDER BY g.id DESC))[1]
                    FROM generations g WHERE g.token_id = $token_id) AS kind
            FROM (
                SELECT token_id FROM tokens_s0 t WHERE t.status = $failed
                ORDER BY t.created_at DESC, t.token_id DESC LIMIT $failures_grouped) t) failed
        GROUP BY kind) kinds) AS failure_kinds

-- name: details
-- `newer` and `older` are the neighbours in the order of the status page.
SELECT json_build_object(
        'generation_id', id, 'token_id', token_id, 'prompt', coalesce(prompt, ''),
        'fallback', fallback, 'url', image_url, 'path', image_path,
        'handed_on_url', handed_on_url,
        'closed_at', extract(epoch FROM closed_at),
        'age_seconds', extract(epoch FROM now() - closed_at)) AS picture,
    attempt, model, seed, prediction_id,
    extract(epoch FROM closed_at - opened_at)::float AS seconds,
    (SELECT other.id FROM generations other
     WHERE other.state = 'succeeded' AND (other.closed_at, other.id) > (image.closed_at, image.id)
     ORDER BY other.closed_at, other.id LIMIT 1) AS newer,
    (SELECT other.id FROM generations other
     WHERE other.state = 'succeeded' AND (other.closed_at, other.id) < (image.closed_at, image.id)
     ORDER BY other.closed_at DESC, other.id DESC LIMIT 1) AS older
FROM generations image WHERE state = 'succeeded' AND id = $generation_id

-- name: now
SELECT extract(epoch FROM now())::float

-- name: path
SELECT image_path FROM generations WHERE id = $generation_id
