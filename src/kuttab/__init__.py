"""kuttab: hyper-parameter and architecture search, on one machine or on Kubernetes.

The names below are the whole public Python surface; everything else may change between releases.
"""

from kuttab.__about__ import __version__

__all__ = ["__version__"]
