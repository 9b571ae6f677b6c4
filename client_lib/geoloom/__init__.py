"""Geoloom: explore the Earth's image archives from a notebook."""
