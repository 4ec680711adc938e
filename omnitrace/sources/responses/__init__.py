"""Responses that exist already, in the forms in which servers give them."""
