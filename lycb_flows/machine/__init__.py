"""One machine: its settings, files, processes, walltime, programs that end with their job."""
