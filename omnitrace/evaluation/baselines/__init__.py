"""What attributions are compared with."""
