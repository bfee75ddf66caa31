"""The command line: one file per command or family of commands, and what they share."""
