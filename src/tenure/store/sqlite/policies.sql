-- name: current
SELECT version, text, hash, rules FROM policies ORDER BY version DESC LIMIT 1

-- name: accept
INSERT INTO policies (version, text, hash, rules, accepted_at, accepted_by)
VALUES (?, ?, ?, ?, ?, ?)

-- name: absence
SELECT rank, boot_id, awake, since FROM absences WHERE rank = ?

-- name: note_absence
INSERT OR REPLACE INTO absences (rank, boot_id, awake, since) VALUES (?, ?, ?, ?)

-- name: end_absence
DELETE FROM absences WHERE rank = ?
