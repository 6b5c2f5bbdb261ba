"""The version that made a schedule, for its provenance."""

ART_VERSION = "0.1.0"  # of this pack, as in pyproject.toml
