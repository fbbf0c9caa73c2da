"""Files: made durable, moved, carried over, exchanged."""
