"""The reaper: gives back the jobs whose worker has died."""
