//! `/api/v1/move`: moves the registry to other places, and streams the progress.
//!
//! The request holds the keys of the new places, so a command on the machine sends it.

use api::{Move, MoveBlobs, MoveLine, MoveMetadata, MoveProgress, MoveReport, MovedBlobs, MovedTable};
use registry::access::Identity;
use registry::relocation::{
    AccessKey, BlobTarget, DatabaseUrl, MetadataTarget, ObjectSettings, Relocation, RelocationProgress,
    RelocationReport, check_bucket_url,
};

use super::{body, json_lines};
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::gateway_error::GatewayError;
use crate::http::response::Response;

/// The place that the data directory has itself.
const FILE: &str = "file";

/// Starts the move. It ends if the client disconnects before it is complete.
pub(crate) async fn relocate(mut call: Call<'_>) -> Result<Response, Error> {
    if !matches!(call.caller.identity(), Identity::Operator) {
        super::must_be_administrator(&call)?;
        return Err(Error::LocalMove);
    }
    if call.app.content_proxy.is_some() {
        return Err(GatewayError::Unsupported.into());
    }
    let to = relocation(body(&mut call).await?)?;
    let registry = call.registry();
    Ok(json_lines::stream(|lines| async move {
        let progress = {
            let lines = lines.clone();
            move |RelocationProgress { is_frozen, blobs, bytes, rows }| {
                lines.progress(|| MoveLine::Progress(MoveProgress { is_frozen, blobs, bytes, rows }));
            }
        };
        let moved = tokio::select! {
            moved = Box::pin(registry.relocate(to, progress)) => moved,
            () = lines.closed() => {
                tracing::warn!("the command of the move has ended; a move that was not complete has changed nothing");
                return;
            }
        };
        let last = match moved {
            Ok(moved) => MoveLine::Report(report(moved)),
            Err(error) => {
                tracing::error!(error = reason(&error), "the registry could not be moved");
                MoveLine::Failed(reason(&error))
            }
        };
        lines.end(&last).await;
    }))
}

/// Returns the reason of a failed move. The place that does not answer may be the new one, which the operator
/// has named.
fn reason(error: &registry::Error) -> String {
    match error {
        registry::Error::Unavailable(cause) => cause.to_string(),
        error => error.to_string(),
    }
}

fn relocation(Move { blobs, metadata }: Move) -> Result<Relocation, Error> {
    Ok(Relocation {
        blobs: blobs.map(blob_target).transpose()?,
        metadata: metadata.map(|metadata| metadata_target(&metadata)).transpose()?,
    })
}

fn blob_target(blobs: MoveBlobs) -> Result<BlobTarget, Error> {
    if blobs.url == FILE {
        return Ok(BlobTarget::Files);
    }
    check_bucket_url(&blobs.url).map_err(|_| Error::BadParameter {
        parameter: "blobs",
        expected: "s3://BUCKET/PREFIX, az://CONTAINER/PREFIX, or file for the data directory",
    })?;
    let key = match (blobs.access_key, blobs.secret_key) {
        (Some(id), Some(secret)) => Some(AccessKey { id, secret: secret.into_text() }.into()),
        (None, None) => None,
        _ => {
            let expected = "an access key with its secret, or neither of them";
            return Err(Error::BadParameter { parameter: "blobs", expected });
        }
    };
    Ok(BlobTarget::Bucket(Box::new(ObjectSettings {
        endpoint: blobs.endpoint,
        region: blobs.region,
        path_style: blobs.path_style,
        key,
        ..ObjectSettings::of(blobs.url)
    })))
}

fn metadata_target(metadata: &MoveMetadata) -> Result<MetadataTarget, Error> {
    if metadata.url.reveal() == FILE {
        return Ok(MetadataTarget::File);
    }
    let url = DatabaseUrl::parse(metadata.url.reveal()).map_err(|_| Error::BadParameter {
        parameter: "metadata",
        expected: "postgres://USER@HOST/DATABASE, or file for the data directory",
    })?;
    Ok(MetadataTarget::Server(Box::new(match &metadata.password {
        Some(password) => url.with_password(password.reveal()),
        None => url,
    })))
}

fn report(moved: RelocationReport) -> MoveReport {
    MoveReport {
        blobs: moved.blobs.map(|blobs| MovedBlobs {
            present: blobs.present,
            copied: blobs.copied,
            copied_bytes: blobs.copied_bytes,
            faulty: blobs.faulty.iter().map(ToString::to_string).collect(),
        }),
        tables: moved
            .tables
            .into_iter()
            .map(|table| MovedTable { name: table.name, rows: table.rows, checksum: table.checksum })
            .collect(),
        uploads: moved.uploads,
        frozen_milliseconds: u64::try_from(moved.frozen_for.as_millis()).unwrap_or(u64::MAX),
    }
}
