"""What makes the daemon a service: systemd is told of it, its units, what stands in the way (floor 6)."""
