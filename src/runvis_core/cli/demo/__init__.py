"""`runvis demo`: a real Airflow and a real Prefect, recorded into one history."""
