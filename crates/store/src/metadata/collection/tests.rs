//! Tests of the collection of metadata.
