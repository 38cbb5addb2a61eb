"""Emotions as they are shown: the newest frame of a camera or a played video, looked at and put on a page."""
