-- How the user's table `tokens_s0` is defined. A type is a domain's or its base type.

-- name: columns
-- Each column's type as it is declared, without a length, the type that a domain is based on, and
-- the latter's category: E is an enum, S a string. `character` without a length would be one.
WITH RECURSIVE base AS (
    SELECT attname, attnotnull, atttypid, atttypid AS type FROM pg_attribute
    WHERE attrelid = to_regclass('tokens_s0') AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT attname, attnotnull, atttypid, typbasetype FROM base JOIN pg_type ON pg_type.oid = type
    WHERE typtype = 'd'
)
SELECT attname,
    CASE WHEN atttypid = 'bpchar'::regtype THEN 'bpchar' ELSE format_type(atttypid, NULL) END,
    format_type(type, NULL), typcategory::text, NOT attnotnull
FROM base JOIN pg_type ON pg_type.oid = type WHERE typtype <> 'd'

-- name: enum_labels
SELECT enumlabel, format_type(atttypid, NULL) FROM pg_attribute
    LEFT JOIN pg_type domain ON domain.oid = atttypid AND typtype = 'd'
    JOIN pg_enum ON enumtypid = coalesce(domain.typbasetype, atttypid)
WHERE attrelid = to_regclass('tokens_s0') AND attname = 'status'
ORDER BY enumsortorder

-- name: status_checks
-- The type of the status with its length, and the CHECKs on this column alone.
SELECT format_type(atttypid, atttypmod), ARRAY(
    SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint
    WHERE conrelid = attrelid AND contype = 'c' AND conkey = ARRAY[attnum])
FROM pg_attribute WHERE attrelid = to_regclass('tokens_s0') AND attname = 'status'

-- name: status_hints
SELECT (
        SELECT pg_get_expr(indpred, indrelid) FROM pg_index
        WHERE indexrelid = to_regclass('imagegen_tokens_detected')), (
        SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef
        WHERE adrelid = attrelid AND adnum = attnum)
FROM pg_attribute WHERE attrelid = to_regclass('tokens_s0') AND attname = 'status'

-- name: has_status
-- Of the first rows of a large table: an application writes all of them in one way.
SELECT EXISTS (
    SELECT FROM (SELECT status::text AS status FROM tokens_s0 LIMIT 100000) first_rows
    WHERE status = ANY(%s))
