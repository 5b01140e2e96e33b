"""Finished runs as tables and pictures: what bin/report.py writes."""
