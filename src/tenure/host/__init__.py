"""What the operating system says of processes, clocks and locks."""
