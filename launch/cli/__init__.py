"""The command line: one file a command; `main` dispatches, nothing heavy loads before it."""
