-- name: due
SELECT {job_row},
       (SELECT count(*) FROM runs WHERE job = j.id AND {active}),
       EXISTS (SELECT 1 FROM omissions o WHERE o.job = j.id AND {open_hold})
FROM {jobs_joined}
WHERE j.runner = ? AND j.due_at <= ?
ORDER BY j.due_at, j.seq LIMIT ?

-- name: next_due
SELECT min(at) FROM (
    SELECT min(due_at) AS at FROM jobs WHERE :command AND runner = 'command' AND due_at IS NOT NULL
    UNION ALL SELECT min(due_at) FROM jobs WHERE :thread AND runner = 'thread' AND due_at IS NOT NULL
    UNION ALL SELECT min(due_at) FROM jobs WHERE :async AND runner = 'async' AND due_at IS NOT NULL
    UNION ALL SELECT min(retry_at) FROM runs WHERE state = 'retrying'
)

-- name: claimable
SELECT id, name, revision, state, watermark, needs_authority, purged_until
FROM jobs WHERE id IN (SELECT value FROM json_each(?))

-- name: insert
INSERT INTO runs (id, job, job_name, revision, fire_time, cause, state, term, process, holder,
                  policy_version, protected, attempt, claimed_at, request)
VALUES (?, ?, ?, ?, ?, ?, 'claimed', ?, ?, ?, ?, ?, 1, ?, ?)
ON CONFLICT (job, fire_time) DO NOTHING

-- name: purged
SELECT max(last) FROM purged_spans WHERE job = ? AND last >= ? AND first <= ?

-- name: definition
SELECT definition FROM job_revisions WHERE job = ? AND revision = ?

-- name: account_from
UPDATE jobs SET accounted_from = max(accounted_from, ?) WHERE id = ?

-- name: advance
UPDATE jobs SET watermark = ?, due_at = ?, waiting = ?, deferred = ?, state = ? WHERE id = ?

-- name: put_off
UPDATE jobs SET due_at = ? WHERE id = ? AND state = 'active'

-- name: active_runs
SELECT id FROM runs WHERE job = ? AND {active}

-- name: count_active
SELECT count(*) FROM runs WHERE job = ? AND {active}

-- name: newest_active
SELECT id FROM runs WHERE job = ? AND {active} ORDER BY claimed_at DESC, id DESC LIMIT 1

-- name: last_warning
SELECT facts FROM events WHERE kind = 'warning' AND job = ? ORDER BY seq DESC LIMIT 1

-- name: due_retries
SELECT {run_row}, j.runner
FROM runs x JOIN jobs j ON j.id = x.job
WHERE x.state = 'retrying' AND x.retry_at <= ?
ORDER BY x.retry_at, x.seq

-- name: keep_attempt
INSERT INTO attempts (run, number, claimed_at, term, process, started_at, finished_at, state,
                      reason, exit_code, signal)
SELECT id, attempt, claimed_at, term, process, started_at, finished_at, state, reason, exit_code,
       signal
FROM runs WHERE id = ?

-- name: claim_retry
UPDATE runs
SET state = 'claimed', term = ?, process = ?, holder = ?, policy_version = ?,
    attempt = attempt + 1, claimed_at = ?, retry_at = NULL, started_at = NULL,
    finished_at = NULL, reason = '', exit_code = NULL, signal = NULL, identity = NULL, log = NULL
WHERE id = ?

-- name: retry_job
SELECT state, revision, needs_authority FROM jobs WHERE id = ?

-- name: fire_is_taken
SELECT 1 FROM runs WHERE job = ? AND fire_time = ?
