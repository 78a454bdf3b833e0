"""HTTP in the dialect of Kubernetes, over any client."""
