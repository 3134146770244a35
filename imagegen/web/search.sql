-- The search for tokens: one statement. It looks at no more tokens than `$looked_at`, in the order of
-- an index, however many there are.

-- fragment: columns
t.token_id, t.author_id, t.status, t.created_at, t.generation_attempts, t.generation_error,
    t.generate_after

-- fragment: newest_kind
-- The kind of failure of a token's newest generation. If Replicate refused it until it was given up,
-- `error_kind` has the reason of the refusal. With LIMIT 1 the planner might walk the primary key.
(SELECT (array_agg(CASE WHEN g.state = 'refused' THEN 'given_up' ELSE g.error_kind END
        ORDER BY g.id DESC))[1]
    FROM generations g WHERE g.token_id = $token_id)

-- name: by_mint
-- Waiting and failed tokens have an index by their mint.
SELECT $columns FROM tokens_s0 t WHERE t.status = $status AND $older
ORDER BY t.created_at DESC, t.token_id DESC LIMIT $looked_at

-- name: with_older_mint
(t.created_at, t.token_id) < (
    (SELECT coalesce(c.created_at, 'infinity') FROM tokens_s0 c WHERE c.token_id = %(before)s::bigint),
    %(before)s::bigint)

-- name: by_number_at_work
-- Tokens at work have an index by their number.
SELECT $columns FROM tokens_s0 t
WHERE t.status = $generating AND t.token_id <= %(up_to)s::bigint
ORDER BY t.token_id DESC LIMIT $looked_at

-- name: by_number
SELECT $columns FROM tokens_s0 t WHERE t.token_id <= %(up_to)s::bigint
ORDER BY t.token_id DESC LIMIT $looked_at

-- name: by_token
SELECT $columns FROM tokens_s0 t WHERE t.token_id = %(token)s::bigint

-- name: with_status
lower(t.status::text) = %(status)s::text

-- name: with_failure
$newest_kind IS NOT DISTINCT FROM nullif(%(failure)s::text, 'unrecorded')

-- name: with_author
t.author_id = ANY(ARRAY(SELECT id FROM author))

-- name: search
-- An author is found by the index of wallets if it is spelt as it was recorded. Otherwise the first
-- `$authors_looked_at` authors are compared without regard to case. The last token that was looked at
-- is found only if too few tokens fit.
WITH spelt AS (
    SELECT id FROM authors WHERE wallet_address = ANY(%(spellings)s::text[]) LIMIT 10
), author AS (
    SELECT id FROM spelt
    UNION ALL SELECT id FROM (SELECT id, wallet_address FROM authors LIMIT $authors_looked_at) few
    WHERE NOT EXISTS (SELECT FROM spelt)
        AND lower(few.wallet_address::text) = lower(%(author)s::text)
), found AS MATERIALIZED (
    SELECT t.*, row_number() OVER () AS place FROM ($window) t WHERE $conditions LIMIT $limit
)
SELECT (SELECT coalesce(json_agg(shown ORDER BY place), '[]') FROM (
        SELECT place, $token_id AS token_id, a.wallet_address::text AS author,
            lower(t.status::text) AS status,
            coalesce(t.generate_after = 'infinity', false) AS is_held,
            CASE WHEN t.generation_attempts BETWEEN -1000000 AND 1000000
                THEN t.generation_attempts::integer ELSE 0 END AS attempts,
            left(coalesce(a.prompt_text::text, g.prompt), $prompt_characters) AS prompt,
            left(t.generation_error, $message_characters) AS message,
            g.error_kind AS kind, coalesce(g.state = 'refused', false) AS refused,
            extract(epoch FROM minted) AS minted_at,
            extract(epoch FROM now() - minted) AS age_seconds
        FROM found t LEFT JOIN LATERAL (
            SELECT prompt, error_kind, state FROM generations g
            WHERE g.token_id = $token_id ORDER BY g.id + 0 DESC LIMIT 1) g ON true
        LEFT JOIN authors a ON a.id = t.author_id
        -- The recorded time of a mint need not be a real one.
        CROSS JOIN LATERAL (
            SELECT CASE WHEN t.created_at BETWEEN '1970-01-01' AND now() + interval '1 day'
                THEN $minted_at END AS minted) mint) shown) AS tokens,
    (SELECT $token_id FROM ($window) t WHERE (SELECT count(*) FROM found) < $limit
     OFFSET $looked_at - 1) AS last_looked_at,
    %(author)s::text IS NULL OR EXISTS (SELECT FROM author) AS knows_author

-- name: statuses
-- The statuses that tokens can have, by their type, a CHECK of the column, or the statistics.
SELECT lower(enumlabel) FROM pg_enum JOIN pg_attribute ON atttypid = enumtypid
WHERE attrelid = to_regclass('tokens_s0') AND attname = 'status'
UNION SELECT lower((regexp_matches(pg_get_constraintdef(c.oid), '''([^'']+)''', 'g'))[1])
FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
WHERE c.conrelid = to_regclass('tokens_s0') AND c.contype = 'c' AND a.attname = 'status'
UNION SELECT lower(unnest(s.most_common_vals::text::text[]))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = 'status'
WHERE c.oid = to_regclass('tokens_s0')
