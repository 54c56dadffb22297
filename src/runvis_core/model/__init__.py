"""The canonical run model: what a run is and what its history means. No I/O, no clock."""
