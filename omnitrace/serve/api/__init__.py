"""The API of the page."""
