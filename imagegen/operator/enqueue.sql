-- What `imagegen enqueue` asks before it inserts. The INSERTs follow from the tables' columns.

-- name: lock
-- Two commands at once would continue after the same highest token.
SELECT pg_advisory_xact_lock(hashtextextended('imagegen enqueue', 0))

-- name: authors
-- Wallets are written in either case.
SELECT lower(wallet_address), id::text, prompt_text
FROM authors WHERE lower(wallet_address) = ANY(%s)

-- name: taken_token_ids
SELECT token_id FROM tokens_s0 WHERE token_id = ANY(%s)

-- name: highest_token_id
SELECT coalesce(max(token_id), 0) FROM tokens_s0

-- name: token_id_type
SELECT format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = to_regclass('tokens_s0') AND attname = 'token_id'

-- name: columns
SELECT attname, format_type(atttypid, NULL),
    attnotnull AND NOT atthasdef AND attidentity = '' AS must
FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
