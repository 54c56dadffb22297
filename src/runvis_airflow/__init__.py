"""What makes Apache Airflow report to RunVis."""
