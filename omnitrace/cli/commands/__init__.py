"""One module for each command: parse, call the library, print."""
