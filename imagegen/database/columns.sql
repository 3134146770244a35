-- What the columns of `tokens_s0` take, and what else may refuse what is written to them.

-- name: characters
-- The width of a column, or of the domain that it has. A type without one brings no row.
WITH RECURSIVE types AS (
    SELECT atttypid AS type, atttypmod AS modifier FROM pg_attribute
    WHERE attrelid = to_regclass('tokens_s0') AND attname = %s AND NOT attisdropped
    UNION ALL
    SELECT typbasetype, typtypmod FROM types JOIN pg_type ON pg_type.oid = type
    WHERE typtype = 'd'
)
SELECT min(modifier - 4) FROM types
WHERE modifier > 4 AND type IN ('varchar'::regtype, 'bpchar'::regtype)
HAVING count(*) > 0
