-- name: declared_names
SELECT name FROM jobs WHERE app = ? AND state <> 'removed'

-- name: other_app
SELECT app FROM jobs WHERE app IS NOT NULL AND app <> ? AND state <> 'removed' LIMIT 1

-- name: set_version
UPDATE jobs SET app_version = ? WHERE id = ?

-- name: ahead
SELECT {job_row} FROM {jobs_joined} WHERE j.watermark > ? AND j.state <> 'removed'

-- name: reaching
SELECT {omission_row} FROM omissions o WHERE o.job = ? AND o.last > ?

-- name: cut
UPDATE omissions SET cut_at = ?, count = ?, last = ? WHERE id = ?

-- name: resolve
UPDATE omissions SET resolved_at = ?, resolution = ? WHERE id = ?

-- name: valid_from_now
UPDATE job_revisions SET valid_after = ? WHERE job = ? AND valid_after > ?

-- name: restart
UPDATE jobs
SET watermark = ?, accounted_from = ?, state = ?, due_at = ?, waiting = 0, deferred = 0
WHERE id = ?

-- name: bring_near
UPDATE jobs SET due_at = ?, deferred = 0
WHERE state = 'active' AND due_at > ?
  AND (deferred OR waiting OR id IN (SELECT o.job FROM omissions o WHERE {open_hold}))

-- name: bring_retries_near
UPDATE runs SET retry_at = ? WHERE state = 'retrying' AND retry_at > ?

-- name: next_era
UPDATE meta SET value = value + 1 WHERE key = 'clock_era'

-- name: replan
UPDATE jobs SET due_at = ?
WHERE id IN (SELECT value FROM json_each(?)) AND state = 'active' AND due_at > ?
