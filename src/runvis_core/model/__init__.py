"""The canonical run model: pydantic and the standard library only, no input or output, no clock."""
