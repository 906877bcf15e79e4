"""macOS: libproc, sysctl, code signatures, launchd. Not yet verified on a Mac."""
