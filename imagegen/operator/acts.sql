-- Acts of operators: how they are recorded, and read for the commands that show them.

-- fragment: who
-- session_user is the role that logged in, also on a session that a pooler shares.
%(who)s || ' as ' || session_user

-- name: record
INSERT INTO imagegen_acts (who, act, reason, until, details)
VALUES ($who, %(act)s, %(reason)s, now() + make_interval(secs => %(for_seconds)s),
    %(details)s::jsonb)

-- name: wake
SELECT pg_notify(%s, '')

-- name: read_pause
SELECT $pause_as_json AS pause, (
    SELECT count(*) FROM generations
    WHERE state = 'open' AND requested_at IS NOT NULL AND closing IS NULL) AS in_flight

-- name: set_limits
-- Limits that are not named here stay as they are, also those that only other versions know.
INSERT INTO imagegen_acts (who, act, reason, details)
VALUES ($who, 'limits', %(reason)s,
    (coalesce($limits, '{}') || %(set)s::jsonb) - %(unset)s::text[])

-- name: read_limits
SELECT $limits AS limits

-- name: price_of_last
-- What the newest prediction with a price may have cost at most, among the last 1000 generations.
SELECT coalesce(estimated_cost, cost) FROM (
    SELECT * FROM generations ORDER BY id DESC LIMIT 1000) g
WHERE coalesce(estimated_cost, cost) > 0 ORDER BY id DESC LIMIT 1

-- fragment: act
to_json(a.at) #>> '{}' AS at, a.who, a.act, a.token_id, a.reason,
    to_json(a.until) #>> '{}' AS until, a.details

-- name: newest
SELECT $act FROM imagegen_acts a ORDER BY a.id DESC LIMIT %(limit)s

-- name: newest_of_token
SELECT $act FROM imagegen_acts a WHERE a.token_id = %(token_id)s
ORDER BY a.id DESC LIMIT %(limit)s

-- name: newest_of_limits
SELECT $act FROM imagegen_acts a WHERE a.act = 'limits' AND a.token_id IS NULL
ORDER BY a.id DESC LIMIT %(limit)s
