"""The version of the package, for all that stamps what it writes."""

VERSION = "0.1.0"
