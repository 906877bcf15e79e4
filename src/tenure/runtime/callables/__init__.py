"""Running a declared function: in a thread, an event loop or a child process."""
