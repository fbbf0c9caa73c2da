"""One git repository: what it says, what it is told, what mends it."""
