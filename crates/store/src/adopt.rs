//! The way back: from a `repositories/` directory to the metadata.
