"""The reaper: puts jobs whose worker has died back into the queue."""
