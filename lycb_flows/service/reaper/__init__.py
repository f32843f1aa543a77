"""What died in the queue goes back to it."""
