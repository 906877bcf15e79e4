"""Running a command that outlives its owner."""
