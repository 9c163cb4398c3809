"""Captioners of this study's own: trained where images and maps meet, and compared."""
