"""The gRPC edge: contract, conversion, servers, clients."""

import os

# gRPC's C core writes connection news to standard error, past every log setting; it reads this when it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
