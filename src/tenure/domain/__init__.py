"""Rules and decisions: no clock, thread, file or socket."""
