"""When a job is due: schedules, their text, time zones."""
