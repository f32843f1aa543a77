"""The speed of this machine, measured beside the reference implementations."""
