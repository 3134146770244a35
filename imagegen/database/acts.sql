-- The pause and the limits that operators have set: rows of imagegen_acts. The workers, /metrics,
-- the status page and the commands use these fragments.

-- fragment: newest_pause
(SELECT p.id, p.at, p.who, p.reason, p.until FROM imagegen_acts p
 WHERE p.act = 'pause' AND p.token_id IS NULL ORDER BY p.id DESC LIMIT 1)

-- fragment: pause
-- The pause that holds now: one row, or none. A later pause replaces an earlier one.
(SELECT newest.* FROM $newest_pause newest
 WHERE coalesce(newest.until > now(), true) AND newest.id > coalesce((
    SELECT r.id FROM imagegen_acts r
    WHERE r.act = 'resume' AND r.token_id IS NULL ORDER BY r.id DESC LIMIT 1), 0))

-- fragment: pause_as_json
(SELECT jsonb_build_object('who', pause.who, 'reason', pause.reason,
    'since', to_char(pause.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'until', to_char(pause.until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
 FROM $pause pause)

-- fragment: limits
-- The limits that operators have set, as `details` of the newest act. NULL: none was ever set.
(SELECT l.details FROM imagegen_acts l
 WHERE l.act = 'limits' AND l.token_id IS NULL ORDER BY l.id DESC LIMIT 1)

-- fragment: held
-- Whether an operator holds the token `t` until it is released.
coalesce(t.generate_after = 'infinity', false)

-- fragment: end_of_hold
-- The end of the hold on the token `t`; NULL, which greatest() ignores, without one.
CASE WHEN $held THEN 'infinity'::timestamptz END
