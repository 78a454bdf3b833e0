"""The node and the observation log of one machine, put together for the machine."""
