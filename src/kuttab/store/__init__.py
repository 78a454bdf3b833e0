"""The embedded object store: SQLite with the rules of Kubernetes."""
