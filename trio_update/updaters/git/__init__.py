"""Apps that are git clones."""
