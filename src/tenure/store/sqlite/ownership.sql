-- name: record
SELECT hold, term, process, rule, authoritative, policy_version, since, progress_at,
       progress_awake, boot_id, ended_at, ended_why, reserved_for, reserved_until
FROM ownership

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

-- name: current_policy
SELECT version, text, hash, rules FROM policies ORDER BY version DESC LIMIT 1

-- name: accept_policy
INSERT INTO policies (version, text, hash, rules, accepted_at, accepted_by)
VALUES (?, ?, ?, ?, ?, ?)

-- name: absence
SELECT rank, boot_id, awake, since FROM absences WHERE rank = ?

-- name: note_absence
INSERT OR REPLACE INTO absences (rank, boot_id, awake, since) VALUES (?, ?, ?, ?)

-- name: end_absence
DELETE FROM absences WHERE rank = ?

-- name: accepted_version
SELECT coalesce(max(version), 0) FROM policies
