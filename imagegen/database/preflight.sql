-- Queries of the catalogs for the checks before a start. A missing table has no row.

-- name: privilege
-- The columns on which the role lacks a privilege; all columns of the table without %(columns)s.
SELECT quote_ident(current_user),
    bool_and(NOT granted) AS on_none,
    array_agg(quote_ident(attname) ORDER BY attnum) FILTER (WHERE NOT granted) AS missing
FROM (
    SELECT attname, attnum,
        has_column_privilege(current_user, attrelid, attnum, %(privilege)s) AS granted
    FROM pg_attribute
    WHERE attrelid = to_regclass(%(table)s) AND NOT attisdropped
        AND CASE WHEN %(columns)s::text[] IS NULL THEN attnum > 0
            ELSE attname = ANY(%(columns)s) END) needed
HAVING NOT bool_and(granted)

-- fragment: applies
-- Whether a policy `p` is for this role; 0 is everybody.
EXISTS (SELECT FROM unnest(p.polroles) role
    WHERE role = 0 OR pg_has_role(current_user, role, 'USAGE'))

-- name: row_security
-- Tables whose row-level security may hide rows from this role, or forbid a change. A policy that
-- permits everything is the same as none, unless another one restricts it.
SELECT quote_ident(current_user), array_agg(name ORDER BY n)
FROM unnest(%(tables)s::text[]) WITH ORDINALITY AS tables (name, n)
WHERE row_security_active(to_regclass(name)) AND (
    NOT EXISTS (
        SELECT FROM pg_policy p
        WHERE p.polrelid = to_regclass(name) AND p.polpermissive AND p.polcmd = '*' AND $applies
            AND pg_get_expr(p.polqual, p.polrelid) = 'true'
            AND coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true')
    OR EXISTS (
        SELECT FROM pg_policy p
        WHERE p.polrelid = to_regclass(name) AND NOT p.polpermissive AND $applies))
HAVING count(*) > 0

-- name: connection_limits
-- Each limit of connections for the role that has logged in, and how it is raised; -1 is none.
-- Superusers have only the server's, and all of that.
SELECT "limit", fix
FROM pg_roles r, pg_database d, LATERAL (VALUES
    (CASE WHEN rolsuper THEN -1 ELSE rolconnlimit END,
        format('ALTER ROLE %%I CONNECTION LIMIT %%s;', rolname, %(enough)s::integer)),
    (CASE WHEN rolsuper THEN -1 ELSE datconnlimit END,
        format('ALTER DATABASE %%I CONNECTION LIMIT %%s;', datname, %(enough)s::integer)),
    (current_setting('max_connections')::integer - CASE WHEN rolsuper THEN 0
            ELSE current_setting('superuser_reserved_connections')::integer
                + coalesce(current_setting('reserved_connections', true)::integer, 0) END,
        'raise max_connections in postgresql.conf,')) limits ("limit", fix)
WHERE r.rolname = session_user AND d.datname = current_database()
    AND "limit" BETWEEN 0 AND %(needed)s::integer - 1
ORDER BY "limit"

-- name: uniqueness
-- Whether a unique index covers the column, and whether the rows are in several tables: an index of
-- a parent does not cover tables that inherit from it.
SELECT is_divided, is_indexed AND (is_partitioned OR NOT is_divided) AS is_unique
FROM (
    SELECT relkind = 'p' AS is_partitioned,
        relkind = 'p' OR EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid) AS is_divided,
        EXISTS (
            SELECT FROM pg_index i
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid
                AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname = %(column)s
        ) AS is_indexed
    FROM pg_class c WHERE c.oid = to_regclass(%(table)s) AND relkind IN ('r', 'p')) found

-- name: unusable_columns
-- Columns whose type, or a domain's base type, is none of these, and those that are computed though
-- imagegen writes to them.
WITH RECURSIVE needed AS (
    SELECT * FROM unnest(%(tables)s::text[], %(columns)s::text[], %(types)s::text[])
        WITH ORDINALITY AS needed ("table", "column", types, n)
), base AS (
    SELECT needed.*, atttypid, atttypid AS type, attgenerated FROM needed
    JOIN pg_attribute ON attrelid = to_regclass("table") AND attname = "column"
    UNION ALL
    SELECT n."table", n."column", n.types, n.n, n.atttypid, d.typbasetype, n.attgenerated
    FROM base n JOIN pg_type d ON d.oid = n.type WHERE d.typtype = 'd'
)
SELECT "table", "column", format_type(atttypid, NULL), types, attgenerated <> ''
FROM base JOIN pg_type ON pg_type.oid = type
WHERE typtype <> 'd' AND (attgenerated <> '' AND "column" = ANY(%(written)s)
    OR NOT format_type(type, NULL) = ANY(string_to_array(types, ', ')))
ORDER BY n

-- name: author_types
-- The types of a token's author and of the author's id, if a value of one is never one of the other.
SELECT format_type(t.atttypid, NULL), format_type(a.atttypid, NULL)
FROM pg_attribute t JOIN pg_type tt ON tt.oid = t.atttypid,
    pg_attribute a JOIN pg_type aa ON aa.oid = a.atttypid
WHERE t.attrelid = to_regclass('tokens_s0') AND t.attname = 'author_id'
    AND a.attrelid = to_regclass('authors') AND a.attname = 'id'
    AND (tt.typcategory <> aa.typcategory OR tt.typcategory = 'U' AND tt.oid <> aa.oid
        AND tt.typtype <> 'd' AND aa.typtype <> 'd')

-- name: detected_index
-- The status in the index of waiting tokens, if it is not this one.
SELECT predicate FROM (
    SELECT pg_get_expr(indpred, indrelid) AS predicate FROM pg_index
    WHERE indexrelid = to_regclass('imagegen_tokens_detected')) index
WHERE position(split_part(%s, '::', 1) IN predicate) = 0

-- fragment: versions
count(*) || '/' || sum(hashtext(xmin::text))

-- name: catalog
-- A text that differs after each change of a table, column, type, constraint, index, comment,
-- policy, schema or role of this database: each change writes a row of the catalog with a new xmin.
SELECT concat_ws(' ', current_user, current_schemas(true),
    (SELECT $versions FROM pg_class), (SELECT $versions FROM pg_attribute),
    (SELECT $versions FROM pg_attrdef), (SELECT $versions FROM pg_constraint),
    (SELECT $versions FROM pg_type), (SELECT $versions FROM pg_enum),
    (SELECT $versions FROM pg_policy), (SELECT $versions FROM pg_namespace),
    (SELECT $versions FROM pg_rewrite), (SELECT $versions FROM pg_auth_members),
    (SELECT $versions FROM pg_index), (SELECT $versions FROM pg_inherits),
    (SELECT $versions FROM pg_description WHERE classoid = 'pg_class'::regclass),
    (SELECT sum(hashtext(concat(rolname, rolsuper, rolinherit, rolbypassrls))) FROM pg_roles))
