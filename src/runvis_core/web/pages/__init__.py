"""One module per page: it asks the services, and gives a template what to show."""
