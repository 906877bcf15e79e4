-- name: emit
INSERT INTO events (kind, at, term, process, job, run, facts) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: after
SELECT seq, kind, at, term, process, job, run, facts FROM events WHERE seq > ? ORDER BY seq LIMIT ?
