"""The command line: parses, calls wiring or sdk, prints."""
