"""Speed and memory, as commands that print one JSON line per case."""
