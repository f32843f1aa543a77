"""`lycb serve`: a page for campaigns, on either kind of store.

access.py
    who may see the pages, and who may change something
connections.py, looks.py, watching.py
    threads that own a connection each; a campaign as plain data; the one poller of the store
pages.py, levers.py, metrics.py
    what is served: pages and events, changes, numbers for Prometheus
drawings.py
    figures that answer to a pointer; structures and trajectories for the viewer
server.py
    all of it put together
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
