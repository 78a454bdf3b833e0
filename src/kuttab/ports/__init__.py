"""Every door to the world, as a protocol. Nothing here does anything."""
