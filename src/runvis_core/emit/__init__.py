"""The engine's side: from a recorded fact to the spool, and from the spool to a store or a server."""
