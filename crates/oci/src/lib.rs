//! What is it? The nouns of the OCI specifications, each with one spelling.
//!
//! A digest, a repository name, a tag, a media type or a manifest exists only as a value of a type
//! of this crate, made by its parser. Code that holds one need not ask again whether it is valid,
//! and paths and queries are built from these types alone. Nothing here does I/O, waits, or knows
//! HTTP.

mod cosign;
pub mod descriptor;
pub mod digest;
mod document;
pub mod error_code;
pub mod image_config;
mod json;
pub mod lenient;
pub mod manifest;
pub mod media_type;
pub mod name;
pub mod reference;
mod stored;
pub mod tag;

pub use cosign::CosignKind;
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, Digester};
pub use error_code::ErrorCode;
pub use image_config::{ContainerConfig, HistoryEntry, ImageConfig, Platform};
pub use manifest::{Kind, Manifest, ManifestError};
pub use media_type::MediaType;
pub use name::RepositoryName;
pub use reference::{Reference, TagOrDigest};
pub use tag::Tag;
