"""Windows, by psutil. Not yet verified on Windows."""
