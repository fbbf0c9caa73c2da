"""Commands: run, bounded, and ended with everything they started."""
