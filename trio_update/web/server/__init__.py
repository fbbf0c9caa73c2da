"""Hypercorn, hardened."""
