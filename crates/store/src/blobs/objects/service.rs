//! Clients of the services that keep objects: S3 and servers with its API, and Azure's.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::signer::Signer;
use object_store::{ObjectStore, RetryConfig};

use super::client::{AzureKey, Connector, Credentials, options};
use crate::object_settings::{ObjectSettings, Place, Provider};

/// The requests to a service that the library knows.
pub(super) trait Service: ObjectStore + MultipartStore + PaginatedListStore + Signer {}

impl<T: ObjectStore + MultipartStore + PaginatedListStore + Signer> Service for T {}

/// Prepares a client. Sends no request.
pub(super) fn open(
    settings: &ObjectSettings,
    place: &Place,
    retry: RetryConfig,
) -> object_store::Result<Arc<dyn Service>> {
    Ok(match place.provider {
        Provider::S3 => Arc::new(s3(settings, place).with_retry(retry).build()?),
        Provider::Azure => Arc::new(azure(settings, place).with_retry(retry).build()?),
    })
}

/// The service for messages: the endpoint, or the name of the provider.
pub(super) fn name(settings: &ObjectSettings, place: &Place) -> String {
    let variable = |name| std::env::var(name).ok().filter(|url: &String| !url.is_empty());
    let (from_environment, provider) = match place.provider {
        Provider::S3 => (variable("AWS_ENDPOINT_URL"), "Amazon's S3"),
        Provider::Azure => (variable("AZURE_STORAGE_ENDPOINT"), "Azure Blob Storage"),
    };
    settings.endpoint.clone().or(from_environment).unwrap_or_else(|| provider.to_owned())
}

/// Credentials and the region come from the environment, unless they are set.
fn s3(settings: &ObjectSettings, place: &Place) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&place.bucket)
        .with_client_options(options())
        .with_disable_bulk_delete(true)
        .with_disable_tagging(true);
    builder = builder.with_region(region(settings));
    let endpoint = settings.endpoint.clone().or(builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
    let is_encrypted = endpoint.as_ref().is_none_or(|endpoint| endpoint.starts_with("https:"));
    if let Some(endpoint) = endpoint {
        // With the bucket in the host name, the library expects it in the endpoint.
        let endpoint = match (settings.path_style, endpoint.split_once("://")) {
            (false, Some((scheme, host))) => format!("{scheme}://{}.{host}", place.bucket),
            _ => endpoint,
        };
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    if let Some(key) = &settings.key {
        builder = builder.with_credentials(Arc::new(Credentials(key.clone())));
    }
    // TLS protects the content on its way. Without it, the signature covers the content.
    builder
        .with_virtual_hosted_style_request(!settings.path_style)
        .with_allow_http(true)
        .with_unsigned_payload(is_encrypted)
        .with_http_connector(connector(settings, place))
}

fn azure(settings: &ObjectSettings, place: &Place) -> MicrosoftAzureBuilder {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(&place.bucket)
        .with_client_options(options())
        .with_allow_http(true)
        .with_disable_tagging(true)
        .with_http_connector(connector(settings, place));
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    if let Some(key) = &settings.key {
        builder = builder.with_account(key.get().id).with_credentials(Arc::new(AzureKey(key.clone())));
    }
    builder
}

pub(super) fn connector(settings: &ObjectSettings, place: &Place) -> Connector {
    Connector { key: settings.key.clone(), region: region(settings), provider: place.provider }
}

/// The region of the settings, or else that of the environment.
fn region(settings: &ObjectSettings) -> String {
    let from_environment = || AmazonS3Builder::from_env().get_config_value(&AmazonS3ConfigKey::Region);
    settings.region.clone().or_else(from_environment).unwrap_or_else(|| "us-east-1".to_owned())
}
