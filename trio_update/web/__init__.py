"""REST and JSON-RPC over a hardened Hypercorn."""
