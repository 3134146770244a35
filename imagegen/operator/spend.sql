-- What Replicate accepted and bills: the ledger, the totals of rows that were pruned, and pruning.

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
-- What Replicate accepted, or may have accepted.
(prediction_id IS NOT NULL OR error_kind = %(unresolved)s)

-- fragment: sums
sum(requests)::bigint AS requests, sum(predictions)::bigint AS predictions,
    sum(CASE WHEN billing = 'no' THEN 0 ELSE images END)::bigint AS images,
    sum(predict_seconds) AS predict_seconds, sum(cost) AS cost

-- name: spend
-- Totals are for whole days.
SELECT day, model, CASE WHEN %(by_author)s THEN author ELSE '' END AS author, outcome, billing,
    is_priced, $sums
FROM (
    SELECT $entry FROM generations WHERE requested_at >= %(since)s AND $accepted
    UNION ALL
    SELECT day, model, author, outcome, billing, is_priced, requests, predictions, images,
        predict_seconds, cost
    FROM imagegen_spend_totals WHERE day >= (%(since)s AT TIME ZONE 'UTC')::date
) entries
GROUP BY 1, 2, 3, 4, 5, 6
ORDER BY 1, 2, 4, 3

-- name: wallets
SELECT id::text, wallet_address::text FROM authors WHERE id::text = ANY(%s)
