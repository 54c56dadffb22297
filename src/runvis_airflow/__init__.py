"""RunVis in Airflow: a plugin that records what Airflow's hooks tell, and a follower that reads what they don't."""
