"""HTTP in the dialect of Kubernetes over any objects client, so that kubectl and Katib's SDK work without a cluster."""
