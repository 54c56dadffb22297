"""The server's side: the event log, the tables derived from it, and their migrations."""
