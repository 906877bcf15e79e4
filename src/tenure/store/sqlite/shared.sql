-- name: job_row
j.id, j.revision, j.state, j.created_at, r.edited_at, r.edited_by, j.watermark, j.due_at,
j.waiting, j.deferred, j.approved_revision, j.app, j.app_version, r.definition, j.name, j.runner

-- name: jobs_joined
jobs j LEFT JOIN job_revisions r ON r.job = j.id AND r.revision = j.revision

-- name: run_row
x.seq, x.id, x.job, x.job_name, x.revision, x.fire_time, x.cause, x.state, x.term, x.process,
x.holder, x.policy_version, x.protected, x.attempt, x.claimed_at, x.retry_at, x.started_at,
x.finished_at, x.reason, x.exit_code, x.signal, x.identity, x.log, x.request,
x.cancel_requested_at, x.late, CASE WHEN x.attempt <> 1 THEN (
    SELECT json_group_array(json_array(number, claimed_at, term, process, started_at, finished_at,
                                       state, reason, exit_code, signal))
    FROM (SELECT * FROM attempts WHERE run = x.id ORDER BY number)
) END

-- name: active
state IN ('claimed', 'running', 'retrying')

-- name: omission_row
o.id, o.job, o.job_name, o.revision, o.kind, o.first, o.last, o.count, o.reason, o.decided_at,
o.decided_by, o.term, o.resolved_at, o.resolution, o.claimed, o.settled_until, o.cut_at

-- name: open_hold
o.kind = 'held' AND o.resolved_at IS NULL
