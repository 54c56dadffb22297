"""The web UI: pages rendered on the server, over the services."""
