"""Linux: /proc, flock, systemd."""
