"""One git repository: what it says, how it is asked, what mends it."""
