"""Writers that describe a chip in words."""
