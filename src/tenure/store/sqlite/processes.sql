-- name: process_row
id, evidence, joined_at, executes, standing, why, role, rule, app, app_version, socket, left_at

-- name: join
INSERT INTO processes ({process_row}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING

-- name: one
SELECT {process_row} FROM processes WHERE id = ?

-- name: here
SELECT {process_row} FROM processes WHERE left_at IS NULL ORDER BY joined_at, seq

-- name: all
SELECT {process_row} FROM processes ORDER BY joined_at, seq

-- name: standing_of
SELECT standing, why, rule FROM processes WHERE id = ?

-- name: set_standing
UPDATE processes SET standing = ?, why = ?, rule = ? WHERE id = ?

-- name: observe
UPDATE processes SET evidence = ? WHERE id = ?

-- name: left_at
SELECT left_at FROM processes WHERE id = ?

-- name: leave
UPDATE processes SET left_at = ? WHERE id = ?
