"""The core of RunVis: one canonical, immutable history of what every orchestrator ran."""
