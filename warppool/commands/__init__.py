"""The command line: one function from arguments to exit status for each command."""
