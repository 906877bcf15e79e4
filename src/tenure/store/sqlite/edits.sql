-- name: name_taken
SELECT id FROM jobs WHERE name = ? AND state <> 'removed'

-- name: alike
SELECT id, name FROM jobs WHERE state <> 'removed' AND lower(name) = ?
UNION ALL
SELECT id, name FROM jobs
WHERE +state <> 'removed' AND length(CAST(name AS BLOB)) <> length(name)

-- name: add
INSERT INTO jobs (id, name, revision, state, runner, needs_authority, created_at, watermark,
                  accounted_from, due_at, app, app_version)
VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_revision
INSERT INTO job_revisions (job, revision, definition, edited_at, edited_by, valid_after)
VALUES (?, ?, ?, ?, ?, ?)

-- name: revise
UPDATE jobs
SET name = ?, revision = ?, state = ?, runner = ?, needs_authority = ?, watermark = ?,
    due_at = ?, waiting = 0, deferred = 0
WHERE id = ?

-- name: set_state
UPDATE jobs SET state = ?, watermark = ?, due_at = ?, waiting = 0, deferred = 0 WHERE id = ?

-- name: pass_over
UPDATE jobs SET watermark = max(watermark, ?) WHERE id = ?

-- name: approve
UPDATE jobs SET approved_revision = ? WHERE id = ?

-- name: rehearsed_schema
SELECT sql FROM sqlite_master
WHERE sql IS NOT NULL AND tbl_name IN ('jobs', 'job_revisions', 'omissions', 'events')
ORDER BY type = 'index'

-- name: rehearsed_jobs
SELECT * FROM jobs

-- name: rehearsed_revisions
SELECT r.* FROM job_revisions r JOIN jobs j ON j.id = r.job AND j.revision = r.revision

-- name: rehearsed_holds
SELECT o.* FROM omissions o WHERE {open_hold}

-- name: state_of_all
SELECT j.id, j.name, j.revision, j.state, j.watermark, j.due_at, j.waiting, j.deferred,
       j.approved_revision, j.app, j.app_version,
       (SELECT group_concat(o.id || ' ' || o.count || ' ' || o.claimed || ' '
                            || coalesce(o.settled_until, ''))
        FROM omissions o WHERE o.job = j.id AND {open_hold})
FROM jobs j
