"""The gRPC edge: contract, conversion, servers, clients."""
