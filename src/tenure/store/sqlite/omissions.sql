-- name: before
SELECT o.id, o.last
FROM omissions o
WHERE o.job = ? AND o.last < ? AND o.revision = ? AND o.kind = ? AND o.reason = ?
  AND o.cut_at IS NULL AND o.resolved_at IS NULL
ORDER BY o.last DESC LIMIT 1

-- name: extend
UPDATE omissions SET last = ?, count = count + ?, decided_at = ?, decided_by = ?, term = ?
WHERE id = ?

-- name: add
INSERT INTO omissions (job, job_name, revision, kind, first, last, count, reason, decided_at,
                       decided_by, term)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: hold
SELECT o.count, o.claimed FROM omissions o
WHERE o.id = ? AND o.job = ? AND {open_hold}

-- name: settle
UPDATE omissions SET claimed = ?, settled_until = ? WHERE id = ?

-- name: resolve
UPDATE omissions SET claimed = ?, resolved_at = ?, resolution = ? WHERE id = ?

-- name: open_holds
SELECT {omission_row} FROM omissions o WHERE o.job = ? AND {open_hold} ORDER BY o.first

-- name: has_open_hold
SELECT EXISTS (SELECT 1 FROM omissions o WHERE o.job = ? AND {open_hold})

-- name: list
SELECT {omission_row} FROM omissions o
