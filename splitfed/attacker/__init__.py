"""The attacker as a process of its own: what it is told, what it does, what it says."""
