"""Figures, tables and pages made from small tables only."""
