"""What ``omnitrace demo`` shows."""
