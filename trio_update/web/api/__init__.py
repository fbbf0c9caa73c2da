"""The Update Management API: REST, JSON-RPC, and the sessions of WebSocket clients."""
