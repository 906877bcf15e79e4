-- name: jobs_by_state
SELECT state, count(*), sum(needs_authority) FROM jobs GROUP BY state

-- name: count_active
SELECT count(*) FROM runs WHERE {active}

-- name: count_holds
SELECT count(*) FROM omissions o WHERE {open_hold}

-- name: count_pending
SELECT count(*) FROM requests WHERE state = 'pending'

-- name: history_clock
SELECT key, value FROM meta
WHERE key IN ('created_at', 'history_at', 'history_parted', 'history_ahead')

-- name: set_meta
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value

-- name: runs_by_age
SELECT x.fire_time, x.id, x.job
FROM runs x JOIN jobs j ON j.id = x.job
WHERE x.claimed_at < ? AND coalesce(x.finished_at, x.claimed_at) < ?
  AND x.state NOT IN ('claimed', 'running', 'retrying') AND x.fire_time <= j.watermark
ORDER BY x.fire_time LIMIT ?

-- name: jobs_with_surplus
SELECT job, count(*) - ? FROM runs GROUP BY job HAVING count(*) > ?

-- name: surplus
SELECT x.fire_time, x.id, x.job
FROM (SELECT * FROM runs WHERE job = ? ORDER BY fire_time LIMIT ?) x JOIN jobs j ON j.id = x.job
WHERE x.state NOT IN ('claimed', 'running', 'retrying') AND x.fire_time <= j.watermark
ORDER BY x.fire_time LIMIT ?

-- name: delete_run
DELETE FROM runs WHERE id = ? AND NOT ({active})

-- name: touching
SELECT first, last FROM purged_spans WHERE job = ? AND last >= ? AND first <= ?

-- name: delete_span
DELETE FROM purged_spans WHERE job = ? AND last = ?

-- name: add_span
INSERT INTO purged_spans (job, first, last) VALUES (?, ?, ?)

-- name: oldest_spans
SELECT first, last FROM purged_spans WHERE job = ? ORDER BY last LIMIT ?

-- name: count_spans
SELECT count(*) FROM purged_spans WHERE job = ?

-- name: account
UPDATE jobs
SET accounted_from = max(accounted_from, ?), purged_until = max(coalesce(purged_until, ?), ?)
WHERE id = ?

-- name: account_from
UPDATE jobs SET accounted_from = max(accounted_from, ?) WHERE id = ?

-- name: omissions_by_age
SELECT o.last, o.id, o.job FROM omissions o
WHERE o.decided_at < ? AND NOT ({open_hold}) ORDER BY o.last, o.id LIMIT ?

-- name: jobs_with_omissions
SELECT job, count(*) - ? FROM omissions GROUP BY job HAVING count(*) > ?

-- name: surplus_omissions
SELECT o.last, o.id, o.job
FROM (SELECT * FROM omissions WHERE job = ? ORDER BY last, id LIMIT ?) o
WHERE NOT ({open_hold}) ORDER BY o.last, o.id LIMIT ?

-- name: delete_omission
DELETE FROM omissions WHERE id = ? AND last = ?

-- name: delete_events
DELETE FROM events WHERE seq IN (
    SELECT seq FROM events WHERE seq <= (SELECT max(seq) FROM events) - ? ORDER BY seq LIMIT ?
)

-- name: delete_requests
DELETE FROM requests WHERE seq IN (
    SELECT seq FROM requests
    WHERE state NOT IN ('pending', 'accepted') AND answered_at < ? ORDER BY seq LIMIT ?
)

-- name: gone_processes
SELECT id FROM processes WHERE left_at < ? LIMIT 1

-- name: delete_processes
DELETE FROM processes WHERE seq IN (
    SELECT seq FROM processes
    WHERE left_at < ? AND id NOT IN (
        SELECT process FROM runs UNION SELECT holder FROM runs UNION SELECT process FROM attempts
        UNION SELECT process FROM ownership WHERE process IS NOT NULL
    )
    ORDER BY seq LIMIT ?
)
