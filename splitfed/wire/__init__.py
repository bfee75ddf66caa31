"""The wire between clients and the server, and the tap on it; knows neither federation nor attacks."""

import os

# gRPC's core writes to stderr of its own accord, into live views too; what matters is raised as an error here
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
