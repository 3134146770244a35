-- name: spend
-- Rows from before the column `images` have one image each.
WITH ledger AS (
    SELECT *, image_url IS NOT NULL OR coalesce(error_kind = ANY(%(billed)s), false) AS billed
    FROM generations
    WHERE requested_at >= %(since)s
        AND (prediction_id IS NOT NULL OR error_kind = %(unresolved)s)
), billed AS (
    SELECT prediction_id, model, predict_seconds,
        (requested_at AT TIME ZONE 'UTC')::date AS day,
        CASE WHEN state <> 'failed' THEN state
            ELSE 'failed: ' || coalesce(error_kind, 'unknown') END AS outcome,
        CASE WHEN billed THEN greatest(images, 1) ELSE 0 END AS images_billed,
        coalesce(error_kind = ANY(%(perhaps)s), false)::integer AS images_perhaps_billed
    FROM ledger
)
SELECT day, model, outcome, count(prediction_id) AS predictions,
    coalesce(sum(images_billed), 0)::bigint AS images_billed,
    coalesce(sum(images_perhaps_billed), 0)::bigint AS images_perhaps_billed,
    coalesce(sum(predict_seconds), 0) AS predict_seconds
FROM billed
GROUP BY GROUPING SETS ((day, model, outcome), ())
ORDER BY day NULLS LAST, model, outcome
