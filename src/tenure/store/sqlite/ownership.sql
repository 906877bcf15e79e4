-- name: record
SELECT hold, term, process, rule, authoritative, policy_version, since, progress_at,
       progress_awake, boot_id, ended_at, ended_why, reserved_for, reserved_until
FROM ownership

-- name: fence
SELECT hold, term, process, policy_version, authoritative,
       (SELECT coalesce(max(version), 0) FROM policies)
FROM ownership

-- name: highest_term
SELECT max(
    (SELECT term FROM ownership),
    (SELECT coalesce(max(term), 0) FROM terms),
    (SELECT coalesce(max(value), 0) FROM meta WHERE key = 'term_floor')
)

-- name: take
UPDATE ownership
SET hold = 'held', term = ?, process = ?, rule = ?, authoritative = ?, policy_version = ?,
    since = ?, progress_at = ?, progress_awake = ?, boot_id = ?,
    ended_at = NULL, ended_why = '', reserved_for = NULL, reserved_until = NULL

-- name: begin_term
INSERT INTO terms (term, process, rule, authoritative, policy_version, taken_at, how)
VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: close_term
UPDATE terms SET ended_at = ?, ended_why = ? WHERE term = ? AND ended_at IS NULL

-- name: reaffirm
UPDATE ownership SET rule = ?, authoritative = ?, policy_version = ?

-- name: reaffirm_term
UPDATE terms SET rule = ?, authoritative = ?, policy_version = ? WHERE term = ?

-- name: vacate
UPDATE ownership
SET hold = 'vacant', process = NULL, rule = NULL, authoritative = 0, policy_version = 0,
    since = NULL, progress_at = NULL, progress_awake = NULL, boot_id = NULL,
    ended_at = ?, ended_why = ?, reserved_for = ?, reserved_until = ?

-- name: progress
UPDATE ownership SET progress_at = ?, progress_awake = ?

-- name: terms
SELECT term, process, rule, authoritative, policy_version, taken_at, how, ended_at, ended_why
FROM terms WHERE ? IS NULL OR term < ? ORDER BY term DESC LIMIT ?
