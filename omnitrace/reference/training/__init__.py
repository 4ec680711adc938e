"""How the reference model was trained. Part of the repository, not of the wheel."""
