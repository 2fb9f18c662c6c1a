"""Monitoring: what was served, beside what the champion knows; an alarm when it has moved for good."""
