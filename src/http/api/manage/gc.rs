//! `/api/v1/gc` and `/api/v1/erase`: collects garbage, explains what keeps content, and erases content.

use api::{Erase, Explanation, GarbageLine, GarbagePreview, GarbageStatus};
use oci::{Digest, RepositoryName};
use registry::collection::{COUNTED, Collected};

use super::{body, change, json_lines, manage, map_error, must_be_on_primary, no_body, ok};
use crate::http::api::garbage as convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::gateway_error::GatewayError;
use crate::http::response::Response;

/// Only administrators collect, or everyone where there are no accounts. A gateway has no content.
pub(crate) fn must_be_allowed(call: &Call<'_>) -> Result<(), Error> {
    map_error(call, manage(call).may_collect())?;
    match call.app.content_proxy {
        Some(_) => Err(GatewayError::Unsupported.into()),
        None => Ok(()),
    }
}

pub(crate) async fn status(call: Call<'_>) -> Result<Response, Error> {
    Ok(ok(&look(&call, COUNTED).await?))
}

/// Returns the last collection, the running one, and the space that is kept, of which `most` removals are
/// counted.
pub(crate) async fn look(call: &Call<'_>, most: usize) -> Result<GarbageStatus, Error> {
    must_be_allowed(call)?;
    Ok(convert::status(call.app.registry.garbage_status(most).await?))
}

/// Returns what a collection would remove.
pub(crate) async fn preview(call: &Call<'_>) -> Result<GarbagePreview, Error> {
    must_be_allowed(call)?;
    Ok(convert::preview(call.app.registry.preview_garbage().await?))
}

/// Returns what keeps some content.
pub(crate) async fn look_for(
    call: &Call<'_>,
    digest: &Digest,
    repository: Option<&RepositoryName>,
) -> Result<Explanation, Error> {
    must_be_allowed(call)?;
    Ok(convert::explanation(call.app.registry.explain_content(digest, repository).await?))
}

/// Starts a collection in the background.
pub(crate) fn start(call: &Call<'_>) -> Result<(), Error> {
    must_be_allowed(call)?;
    let registry = call.registry();
    tokio::spawn(async move {
        if let Err(error) = registry.collect_garbage(|_| true).await {
            tracing::error!(%error, "the garbage collection could not be finished");
        }
    });
    Ok(())
}

/// Starts a collection, or previews one. It runs to its end even if the client disconnects.
pub(crate) async fn run(mut call: Call<'_>) -> Result<Response, Error> {
    must_be_allowed(&call)?;
    no_body(&mut call, "?dry_run=true").await?;
    let registry = call.registry();
    if call.query().truth("dry_run")? {
        return Ok(ok(&preview(&call).await?));
    }
    must_be_on_primary(&call)?;
    Ok(json_lines::stream(|lines| async move {
        let progress = |collected: &Collected| {
            lines.progress(|| GarbageLine::Progress(convert::collected(*collected)));
            true
        };
        let collected = registry.collect_garbage(progress).await;
        let report = match collected {
            Ok(collected) => {
                registry.garbage_status(COUNTED).await.map(|status| convert::report(collected, status))
            }
            Err(error) => Err(error),
        };
        let last = report.map_or_else(
            |error| {
                tracing::error!(%error, "the garbage collection could not be finished");
                GarbageLine::Failed(error.to_string())
            },
            GarbageLine::Report,
        );
        lines.end(&last).await;
    }))
}

pub(crate) async fn explain(call: Call<'_>) -> Result<Response, Error> {
    let query = call.query();
    must_be_allowed(&call)?;
    let digest = query.digest("digest")?.ok_or(Error::DigestMissing { of: "a blob or manifest" })?;
    let repository: Option<RepositoryName> =
        query.parsed("repository", "the name of a repository, such as team/app")?;
    Ok(ok(&look_for(&call, &digest, repository.as_ref()).await?))
}

pub(crate) async fn erase(mut call: Call<'_>) -> Result<Response, Error> {
    if call.app.content_proxy.is_some() {
        return Err(GatewayError::Unsupported.into());
    }
    let Erase { repository, digest, everywhere } = body(&mut call).await?;
    let registry = call.registry();
    let erased = change(&call, async move |manage| {
        let object = format!("{repository}@{digest}");
        let erasing = registry.erase_content(&repository, &digest, everywhere);
        manage.erase(&object, everywhere, erasing).await
    })
    .await?;
    Ok(ok(&convert::erased(digest, erased)))
}
