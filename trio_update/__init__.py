"""Transactional update manager for small Linux hosts."""

__version__ = "0.1.0"
