-- name: one
SELECT {job_row} FROM {jobs_joined} WHERE j.id = ?

-- name: by_name
SELECT {job_row} FROM {jobs_joined} WHERE j.name = ? AND j.state <> 'removed'

-- name: exists
SELECT state FROM jobs WHERE id = ?

-- name: some_names
SELECT name FROM jobs WHERE state <> 'removed' LIMIT 2000

-- name: list
SELECT {job_row} FROM {jobs_joined}

-- name: tagged
CASE WHEN json_valid(r.definition)
     THEN EXISTS (SELECT 1 FROM json_each(r.definition, '$.tags') WHERE value = ?) END

-- name: any_call
SELECT name FROM jobs WHERE runner <> 'command' AND state = 'active' LIMIT 1

-- name: of_another_app
SELECT name FROM jobs WHERE app IS NOT NULL AND app <> ? AND state = 'active' LIMIT 1

-- name: revisions
SELECT job, revision, definition, edited_at, edited_by, valid_after FROM job_revisions
WHERE job = ? ORDER BY revision

-- name: definition
SELECT definition FROM job_revisions WHERE job = ? AND revision = ?

-- name: accounting
SELECT accounted_from, watermark FROM jobs WHERE id = ?

-- name: wake_job
UPDATE jobs SET due_at = ? WHERE id = ? AND state = 'active' AND (due_at IS NULL OR due_at > ?)

-- name: zones
SELECT DISTINCT CASE WHEN json_valid(r.definition)
                     THEN json_extract(r.definition, '$.schedule.timezone') END
FROM {jobs_joined} WHERE j.state <> 'removed'

-- name: suspects
SELECT {job_row} FROM {jobs_joined}
WHERE j.state <> 'removed'
  AND (CASE WHEN r.definition IS NULL OR NOT json_valid(r.definition) THEN 1
            ELSE coalesce(json_extract(r.definition, '$.schedule.timezone'), '')
                 IN (SELECT value FROM json_each(?)) END
       OR j.state NOT IN ('active', 'paused', 'dormant', 'done')
       OR j.id IN (SELECT job FROM events WHERE kind = 'warning' AND job IS NOT NULL))
ORDER BY j.name, j.id LIMIT 1000

-- name: how_many
SELECT count(*) FROM jobs WHERE state <> 'removed'

-- name: kept
SELECT {job_row} FROM {jobs_joined} WHERE j.state <> 'removed' ORDER BY j.name, j.id LIMIT ?

-- name: wake_held
UPDATE jobs SET due_at = ?
WHERE state = 'active' AND (due_at IS NULL OR due_at > ?)
  AND id IN (SELECT DISTINCT o.job FROM omissions o WHERE {open_hold})

-- name: jobs_held
SELECT count(*) FROM jobs
WHERE state = 'active' AND id IN (SELECT DISTINCT o.job FROM omissions o WHERE {open_hold})
