-- Figures of the queue. `stats` is for /metrics and `imagegen status`, which count every token. The
-- status page counts up to a limit, in page.sql of imagegen.web, and takes the fragments from here.

-- fragment: oldest_waiting_seconds
(SELECT extract(epoch FROM now() - $minted_at)::float FROM tokens_s0 t
 WHERE t.status = $detected AND isfinite(t.created_at)
 ORDER BY t.created_at LIMIT 1)

-- fragment: oldest_unfetched_seconds
-- An image is unfetched until the next stage changes its token's status. A token with another URL
-- had new attempts since. The aggregate makes PostgreSQL look up the token of each image: a join
-- with a million tokens takes a second. Only the last day matters, because Replicate deletes images
-- after an hour. At most 10,000 images are checked, which takes 15 ms if all were fetched. If the
-- oldest 10,000 of the day were all fetched, look at the newest 10,000.
coalesce((
    SELECT extract(epoch FROM now() - closed_at)::float FROM (
        SELECT token_id, image_url, closed_at FROM generations
        WHERE state = 'succeeded' AND closed_at > now() - interval '1 day'
        ORDER BY closed_at ASC LIMIT 10000) image
    WHERE (
        SELECT bool_or(t.status = $uploading AND t.image_url = image.image_url)
        FROM tokens_s0 t WHERE t.token_id = image.token_id) ORDER BY closed_at LIMIT 1), (
    SELECT extract(epoch FROM now() - closed_at)::float FROM (
        SELECT token_id, image_url, closed_at FROM generations
        WHERE state = 'succeeded' AND closed_at > now() - interval '1 day'
        ORDER BY closed_at DESC LIMIT 10000) image
    WHERE (
        SELECT bool_or(t.status = $uploading AND t.image_url = image.image_url)
        FROM tokens_s0 t WHERE t.token_id = image.token_id) ORDER BY closed_at LIMIT 1))

-- fragment: closings_refused
(SELECT count(*) FROM generations WHERE state = 'open' AND closing IS NOT NULL)

-- name: stats
-- Labels of a status may differ in case only. Counting each label, then adding up, is fast.
SELECT
    (SELECT coalesce(jsonb_object_agg(status, counted), '{}') FROM (
        SELECT lower(status::text) AS status, sum(counted)::bigint AS counted FROM (
            SELECT status, count(*) AS counted FROM tokens_s0 GROUP BY status) labels
        GROUP BY 1) counted) AS tokens,
    $oldest_waiting_seconds AS oldest_waiting_seconds,
    (SELECT extract(epoch FROM now() - min(opened_at))::float FROM generations
     WHERE state = 'open' AND closing IS NULL) AS oldest_generating_seconds,
    $closings_refused AS closings_refused,
    $oldest_unfetched_seconds AS oldest_unfetched_seconds,
    last_day.*, last_hour.*
FROM (
    SELECT count(*) AS predictions_last_day, coalesce(sum(images), 0) AS images_last_day
    FROM generations
    WHERE requested_at > now() - interval '24 hours' AND prediction_id IS NOT NULL) last_day, (
    SELECT count(*) AS images_last_hour,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS p50_seconds,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95_seconds
    FROM (
        SELECT extract(epoch FROM closed_at - opened_at)::float AS seconds FROM generations
        WHERE closed_at > now() - interval '1 hour' AND state = 'succeeded') made) last_hour
