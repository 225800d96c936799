"""Who may see what: identities, credentials, limits and the audit log of the gateway.

:mod:`gateway.access.gate` is what the stream and REST use; it does no I/O. :mod:`gateway.access.background` builds it
from the configuration and keeps its keys current.
"""
