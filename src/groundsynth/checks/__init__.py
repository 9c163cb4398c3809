"""Checks that image, map and caption agree, and that samples are neither noise nor copies."""
