-- name: jobs
SELECT state, count(*), sum(needs_authority) FROM jobs GROUP BY state

-- name: active_runs
SELECT count(*) FROM runs WHERE {active}

-- name: open_holds
SELECT count(*) FROM omissions o WHERE {open_hold}

-- name: pending_requests
SELECT count(*) FROM requests WHERE state = 'pending'
