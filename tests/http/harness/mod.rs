//! The test harness: a registry inside the test process behind a real socket, images for it, an HTTP client,
//! and a raw client that sends any bytes.

use std::time::Duration;

mod accounts;
mod answer;
mod fault_proxy;
mod image;
#[path = "../../object_servers/mod.rs"]
pub(crate) mod object_servers;
#[path = "../../postgres/mod.rs"]
pub(crate) mod postgres;
mod raw;
mod receiver;
mod registry;
mod storage;
mod upstream;

pub(crate) use accounts::{By, PASSWORD, Who, basic, with_accounts, with_accounts_and};
pub(crate) use answer::{Answer, Ask};
pub(crate) use fault_proxy::{Fault, FaultProxy};
pub(crate) use image::{Image, Part, image_manifest, index_manifest, random};
pub(crate) use raw::RawClient;
pub(crate) use receiver::{Received, Receiver, free_address};
pub(crate) use registry::{Repository, TestRegistry};
pub(crate) use storage::{blobs_in_files, metadata_in_a_file};
pub(crate) use upstream::{Says, Upstream, gateway, header};

pub(crate) const OCI_MANIFEST: &str = oci::media_type::OCI_MANIFEST;
pub(crate) const OCI_INDEX: &str = oci::media_type::OCI_INDEX;
pub(crate) const OCI_CONFIG: &str = oci::media_type::OCI_CONFIG;
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Polls a condition until it holds. Fails after 30 seconds.
pub(crate) async fn eventually(condition: &str, mut holds: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), poll).await;
    ended.unwrap_or_else(|_| panic!("within 30 seconds: {condition}"));
}
