"""The command line, `lycb`."""
