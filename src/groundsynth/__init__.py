"""groundsynth: a reproducible study of grounded synthetic satellite imagery.

Importing the package imports no torch: only the modules under ``models`` and
``benchmark`` do, when they are imported themselves.
"""

__version__ = "0.1.0"
