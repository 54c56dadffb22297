"""The command line face: the `runvis` command."""
