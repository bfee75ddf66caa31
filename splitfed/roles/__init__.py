"""One role of a deployment on one machine: the server, a client, the attacker, the lab."""
