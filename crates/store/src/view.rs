//! The `repositories/` view in distribution's layout, derived from the metadata.
