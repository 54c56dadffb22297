"""A file that the DAG processor cannot import: it imports from airflow, and names a DAG, and then breaks."""

from __future__ import annotations

from airflow.sdk import DAG

raise ImportError(f"this file never makes its {DAG.__name__}")
