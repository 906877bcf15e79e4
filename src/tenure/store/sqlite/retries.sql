-- name: due
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

-- name: claim
UPDATE runs
SET state = 'claimed', term = ?, process = ?, holder = ?, policy_version = ?,
    attempt = attempt + 1, claimed_at = ?, retry_at = NULL, started_at = NULL,
    finished_at = NULL, reason = '', exit_code = NULL, signal = NULL, identity = NULL, log = NULL
WHERE id = ?

-- name: job_of
SELECT state, revision, needs_authority FROM jobs WHERE id = ?
