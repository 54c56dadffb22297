"""Notices: what people want to be told of, by a webhook, as the log tells it. Nothing heavy loads with this package."""
