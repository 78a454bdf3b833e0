"""One machine as a node: jobs as local processes."""
