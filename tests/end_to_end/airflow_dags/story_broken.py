"""A file that the DAG processor cannot import."""

raise ImportError("this file is broken on purpose")
