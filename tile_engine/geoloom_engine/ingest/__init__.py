"""Ingest: plain files become a collection that can be filtered and looked at.

``python -m geoloom_engine.ingest`` finds files, looks into each, and writes static STAC: a
``collection.json`` and items in parts. The parts are all there is of state: what they hold is done.
"""
