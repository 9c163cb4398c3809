"""Scenes on disk to chips: download, read, stretch, split by space, cut."""
