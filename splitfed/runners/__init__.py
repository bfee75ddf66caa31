"""Where the same work runs: in this process, in processes of its own, on a Ray cluster."""
