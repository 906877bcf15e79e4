-- name: schema
SELECT sql FROM sqlite_master
WHERE sql IS NOT NULL AND tbl_name IN ('jobs', 'job_revisions', 'omissions', 'events')
ORDER BY type = 'index'

-- name: jobs
SELECT * FROM jobs

-- name: revisions
SELECT r.* FROM job_revisions r JOIN jobs j ON j.id = r.job AND j.revision = r.revision

-- name: holds
SELECT o.* FROM omissions o WHERE {open_hold}

-- name: state
SELECT j.id, j.name, j.revision, j.state, j.watermark, j.due_at, j.waiting, j.deferred,
       j.approved_revision, j.app, j.app_version,
       (SELECT group_concat(o.id || ' ' || o.count || ' ' || o.claimed || ' '
                            || coalesce(o.settled_until, ''))
        FROM omissions o WHERE o.job = j.id AND {open_hold})
FROM jobs j
