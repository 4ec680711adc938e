"""The HTML report of a trace."""
