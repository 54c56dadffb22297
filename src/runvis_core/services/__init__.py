"""What every face calls: plain functions that take a store."""
