"""What makes Prefect report to RunVis."""
