"""Class-level inversion: a generator's latents searched for what a classifier calls by the wanted class."""
