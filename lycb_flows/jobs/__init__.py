"""One small Maker per kind of job: look up, compute the missing, store, hand on keys.

Every job reads this machine's settings when it runs. `after` arguments carry references
whose only use is order.
"""
