-- The widths of columns of `tokens_s0`, and other obstacles to a write to them.

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

-- name: obstacles
-- Triggers, rules, constraints and unique indexes that a change of these columns meets, except
-- imagegen's own. `read_tables` looks at a CHECK on the status alone.
WITH written AS (
    SELECT attrelid, attnum, attname, atttypid, attnotnull FROM pg_attribute
    WHERE attrelid = to_regclass('tokens_s0') AND attname = ANY(%(columns)s) AND NOT attisdropped
), status AS (
    SELECT attnum FROM written WHERE attname = 'status'
)
SELECT 'trigger ' || quote_ident(tgname) AS obstacle FROM pg_trigger
WHERE tgrelid = to_regclass('tokens_s0') AND NOT tgisinternal AND tgenabled IN ('O', 'A')
    AND tgtype & 16 > 0 AND tgname <> 'imagegen_notify_detected'
    AND (cardinality(tgattr::int2[]) = 0
        OR tgattr::int2[] && ARRAY(SELECT attnum FROM written))
UNION ALL
SELECT 'rule ' || quote_ident(rulename) FROM pg_rewrite
WHERE ev_class = to_regclass('tokens_s0') AND ev_type = '2' AND ev_enabled IN ('O', 'A')
UNION ALL
SELECT 'constraint ' || quote_ident(conname) FROM pg_constraint
WHERE conrelid = to_regclass('tokens_s0') AND contype IN ('c', 'f', 'u', 'x')
    AND conkey && ARRAY(SELECT attnum FROM written)
    AND NOT (contype = 'c' AND conkey = ARRAY(SELECT attnum FROM status))
UNION ALL
SELECT 'constraint ' || quote_ident(conname) FROM pg_constraint
WHERE contypid IN (SELECT atttypid FROM written) AND contype = 'c'
UNION ALL
SELECT 'index ' || quote_ident(relname) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE indrelid = to_regclass('tokens_s0') AND indisunique
    AND EXISTS (
        SELECT FROM pg_depend JOIN written ON refobjid = attrelid AND refobjsubid = attnum
        WHERE classid = 'pg_class'::regclass AND objid = indexrelid)
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
UNION ALL
-- An image sets these two to NULL.
SELECT 'NOT NULL of ' || quote_ident(attname) FROM written
WHERE attnotnull AND attname IN ('generation_error', 'generate_after')
ORDER BY obstacle
