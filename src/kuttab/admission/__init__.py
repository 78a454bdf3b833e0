"""What happens to an object before it is stored: reading, defaults, validation, mutation."""
