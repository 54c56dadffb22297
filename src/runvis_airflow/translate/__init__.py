"""From what Airflow's hooks hand over to events; pure: no clock, no I/O, and no import of Airflow.

Objects are read by their attributes alone, so that a hook's argument can be told from a recorded fixture. All functions
that give events are generators: nothing is read before the recorder asks for the first one. A task's process loads
`tasks` and what that needs; `dag_runs` and `definitions` are for the scheduler.
"""
