"""Control: what the daemon says of itself, and what it lets others do, over HTTP on a Unix socket (floor 6)."""
