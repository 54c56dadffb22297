"""RunVis: the flight recorder of orchestrators."""
