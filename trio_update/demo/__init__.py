"""A playground of real git repositories in a temporary directory."""
