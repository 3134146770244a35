-- What `imagegen tokens hold` and `release` change, each act with its record.

-- fragment: note
-- One row for each of the tokens that were `changed`.
noted AS (
    INSERT INTO imagegen_acts (who, act, token_id, reason)
    SELECT %(who)s || ' as ' || session_user, %(act)s, token_id, %(reason)s FROM changed
    RETURNING token_id
)
SELECT token_id FROM noted

-- name: hold
-- A token that was claimed in the meantime is `generating`, and is not held.
WITH changed AS (
    UPDATE tokens_s0 t SET generate_after = 'infinity'
    WHERE t.token_id = ANY(%(token_ids)s) AND t.status = $detected AND NOT $held
        AND NOT EXISTS (
            SELECT FROM generations g WHERE g.token_id = $token_id AND g.state = 'open')
    RETURNING $token_id AS token_id
), $note

-- name: release
WITH changed AS (
    UPDATE tokens_s0 t SET generate_after = NULL
    WHERE t.token_id = ANY(%(token_ids)s) AND $held
    RETURNING $token_id AS token_id
), $note

-- name: states
SELECT $token_id AS token_id, lower(t.status::text) AS status, $held AS is_held,
    EXISTS (
        SELECT FROM generations g WHERE g.token_id = $token_id AND g.state = 'open') AS is_at_work
FROM tokens_s0 t WHERE t.token_id = ANY(%(token_ids)s)
