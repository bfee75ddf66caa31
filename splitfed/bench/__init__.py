"""Speed, memory and faults, as commands that print one JSON line per case."""
