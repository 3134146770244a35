-- Which parts of the schema are there, and which belong to others.

-- fragment: is_ledger
-- Whether `generations` is imagegen's. An older imagegen made it without the comment.
(coalesce(obj_description(to_regclass('generations'), 'pg_class') = %(ownership)s, false) OR (
    SELECT count(*) = 3 FROM pg_attribute
    WHERE attrelid = to_regclass('generations') AND NOT attisdropped
        AND attname IN ('token_id', 'prediction_id', 'lease_until')))

-- name: visible
-- The relation that a name stands for, in the search_path.
SELECT c.relkind::text AS kind, quote_ident(n.nspname) AS schema,
    coalesce(obj_description(c.oid, 'pg_class') = %(ownership)s, false) AS is_imagegens
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass(%(name)s)

-- name: elsewhere
-- Tables and views of this name that the search_path does not find, or that are written with
-- capitals. PostgreSQL skips a schema of the search_path without USAGE.
SELECT format('%%I.%%I', n.nspname, c.relname) AS table, quote_ident(n.nspname) AS schema,
    c.relname <> %(name)s AS has_capitals,
    has_schema_privilege(n.oid, 'USAGE') AS may_be_used
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE lower(c.relname) = %(name)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND c.oid IS DISTINCT FROM to_regclass(%(name)s)
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 1

-- name: author_table
-- The table that author_id refers to, if it is not the one that `authors` stands for.
SELECT DISTINCT f.confrelid::regclass::text AS table, c.relname = 'authors' AS is_other_authors
FROM pg_constraint f
JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = ANY(f.conkey)
JOIN pg_class c ON c.oid = f.confrelid
WHERE f.contype = 'f' AND f.conrelid = to_regclass('tokens_s0') AND a.attname = 'author_id'
    AND f.confrelid IS DISTINCT FROM to_regclass('authors')

-- name: missing_columns
SELECT name FROM unnest(%(columns)s::text[]) name
WHERE to_regclass(%(table)s) IS NOT NULL AND name NOT IN (
    SELECT attname FROM pg_attribute
    WHERE attrelid = to_regclass(%(table)s) AND NOT attisdropped)

-- name: taken
-- Objects with the name `generations` in the schema in which the table would be made.
SELECT format('%%I.generations', nspname) FROM pg_namespace n
WHERE nspname = current_schema() AND NOT $is_ledger AND (
    EXISTS (SELECT FROM pg_type WHERE typname = 'generations' AND typnamespace = n.oid)
    OR EXISTS (SELECT FROM pg_class WHERE relname = 'generations' AND relnamespace = n.oid))

-- name: has_ledger
SELECT $is_ledger

-- name: schema_of_imagegen
SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = CASE WHEN $is_ledger THEN to_regclass('generations')
    ELSE to_regclass('imagegen_alembic_version') END

-- name: was_here
-- Whether something is left of an imagegen that worked in this schema before.
SELECT to_regclass('imagegen_alembic_version') IS NOT NULL
    OR to_regclass('imagegen_servers') IS NOT NULL
    OR to_regprocedure('imagegen_notify_detected()') IS NOT NULL
    OR $is_ledger
    OR EXISTS (
        SELECT FROM pg_description
        WHERE classoid = 'pg_class'::regclass AND description = %(ownership)s
            AND objoid IN (to_regclass('tokens_s0'), to_regclass('authors')))

-- name: indexes
SELECT name, coalesce(i.indisvalid AND i.indrelid = to_regclass(table_name), false) AS is_there
FROM unnest(%(tables)s::text[], %(names)s::text[]) AS wanted (table_name, name)
LEFT JOIN pg_class t ON t.oid = to_regclass(table_name)
LEFT JOIN pg_class c ON c.relname = name AND c.relnamespace = t.relnamespace
LEFT JOIN pg_index i ON i.indexrelid = c.oid
WHERE t.oid IS NOT NULL

-- name: trigger
SELECT (
    SELECT tgenabled::text FROM pg_trigger
    WHERE tgrelid = to_regclass('tokens_s0') AND tgname = 'imagegen_notify_detected') AS enabled,
    current_setting('max_prepared_transactions') <> '0' AS may_prepare

-- name: session
SELECT quote_ident(current_user) AS role, current_setting('search_path') AS path
