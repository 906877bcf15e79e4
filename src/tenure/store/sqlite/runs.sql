-- name: one
SELECT {run_row} FROM runs x WHERE x.id = ?

-- name: list
SELECT {run_row} FROM runs x

-- name: of_active
x.{active}

-- name: list_active
SELECT {run_row} FROM runs x INDEXED BY runs_active

-- name: after
SELECT {run_row} FROM runs x WHERE x.seq > ? ORDER BY x.seq LIMIT ?

-- name: named
SELECT {run_row} FROM runs x WHERE x.id IN (SELECT value FROM json_each(?))

-- name: latest
SELECT {run_row} FROM runs x WHERE x.job = ? ORDER BY x.fire_time DESC LIMIT ?

-- name: newest
SELECT (SELECT coalesce(max(seq), 0) FROM events), (SELECT coalesce(max(seq), 0) FROM runs),
       (SELECT coalesce(max(id), 0) FROM omissions)

-- name: held_by
SELECT {run_row} FROM runs x WHERE holder = ? AND state IN ('claimed', 'running') ORDER BY x.seq

-- name: orphans
SELECT {run_row} FROM runs x INDEXED BY runs_held
WHERE holder <> ? AND state IN ('claimed', 'running') ORDER BY x.seq

-- name: start
UPDATE runs SET state = 'running', identity = ?, started_at = ?, log = ?
WHERE id = ? AND attempt = ? AND term = ? AND state = 'claimed' AND cancel_requested_at IS NULL

-- name: entered
UPDATE runs SET state = 'running', started_at = ?
WHERE id = ? AND attempt = ? AND state = 'claimed'

-- name: note_reason
UPDATE runs SET reason = ?
WHERE id = ? AND attempt = ? AND holder = ? AND state IN ('claimed', 'running')

-- name: standing
SELECT id, state, attempt, holder, job, request, late, cancel_requested_at,
       (SELECT waiting FROM jobs WHERE jobs.id = runs.job)
FROM runs WHERE id IN (SELECT value FROM json_each(?))

-- name: finish
UPDATE runs
SET state = ?, finished_at = ?, started_at = coalesce(?, started_at), reason = ?, exit_code = ?,
    signal = ?, retry_at = ?
WHERE id = ?

-- name: keep_late
UPDATE runs SET late = ? WHERE id = ?

-- name: end_retries
UPDATE runs SET state = ?, reason = ?, finished_at = ?, retry_at = NULL WHERE id = ?

-- name: request_cancel
UPDATE runs SET cancel_requested_at = coalesce(cancel_requested_at, ?) WHERE id = ?

-- name: adopt
UPDATE runs SET holder = ? WHERE id = ?

-- name: wake
UPDATE jobs SET due_at = ?
WHERE id = ? AND waiting AND state = 'active' AND (due_at IS NULL OR due_at > ?)

-- name: request_done
UPDATE requests SET state = 'done', answer = ? WHERE id = ? AND state = 'accepted'

-- name: provenance
SELECT p.evidence FROM runs x JOIN processes p ON p.id = x.process WHERE x.id = ?
