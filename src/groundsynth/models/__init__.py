"""Networks and their training: the any-to-any denoiser and the segmenter."""
