-- name: request_row
id, kind, key, state, asked_at, deadline, requester, job, run, to_process, queued, answered_at,
term, answer, remedy

-- name: one
SELECT {request_row} FROM requests WHERE id = ?

-- name: by_key
SELECT {request_row} FROM requests WHERE key = ?

-- name: list
SELECT {request_row} FROM requests

-- name: before
seq < (SELECT seq FROM requests WHERE id = ?)

-- name: add
INSERT INTO requests (id, kind, key, state, asked_at, deadline, requester, job, run, to_process,
                      queued)
VALUES (?, ?, ?, 'pending', ?, ?, ?, ?, ?, ?, ?)

-- name: reply
UPDATE requests SET state = ?, answered_at = ?, term = ?, answer = ?, remedy = ?, run = ?
WHERE id = ?

-- name: past
SELECT {request_row} FROM requests WHERE state = 'pending' AND deadline < ? ORDER BY +seq

-- name: accepted_hand_overs
SELECT {request_row} FROM requests WHERE state = 'accepted' AND kind = 'hand_over' ORDER BY seq

-- name: late_hand_overs
-- A take ends them all, so that an owner has none: then no request is read.
SELECT {request_row} FROM (SELECT hold FROM ownership) CROSS JOIN requests
WHERE hold = 'vacant' AND state = 'accepted' AND kind = 'hand_over' AND deadline < ? ORDER BY seq

-- name: observe
UPDATE requests SET requester = ? WHERE id = ?
