//! What the tests have in common: a registry that runs in the test's own process, behind a real socket; images for
//! it; and two clients, one that knows HTTP and one that sends whatever bytes it is given.

mod accounts;
mod answer;
mod image;
mod raw;
mod registry;
mod upstream;

pub(crate) use accounts::{By, PASSWORD, Who, basic, with_accounts, with_accounts_and};
pub(crate) use answer::{Answer, Ask};
pub(crate) use image::{Image, Part, image_manifest, index_manifest, random};
pub(crate) use raw::RawClient;
pub(crate) use registry::{Repository, TestRegistry};
pub(crate) use upstream::{Says, Upstream, gateway, header};

pub(crate) const OCI_MANIFEST: &str = oci::media_type::OCI_MANIFEST;
pub(crate) const OCI_INDEX: &str = oci::media_type::OCI_INDEX;
pub(crate) const OCI_CONFIG: &str = oci::media_type::OCI_CONFIG;
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
