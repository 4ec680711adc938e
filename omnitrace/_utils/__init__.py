"""Small things that have nothing to do with attribution: files and checks of options."""
