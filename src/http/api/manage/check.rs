//! `/api/v1/check`: checks and repairs all content, and streams its progress.

use api::{CheckLine, CheckProgress};
use registry::check::Options;

use super::{json_lines, manage, map_error, must_be_on_primary, no_body};
use crate::http::api::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::gateway_error::GatewayError;
use crate::http::response::Response;

/// Starts the check. It ends if the client disconnects.
pub(crate) async fn run(mut call: Call<'_>) -> Result<Response, Error> {
    map_error(&call, manage(&call).must_be_administrator())?;
    if call.app.content_proxy.is_some() {
        return Err(GatewayError::Unsupported.into());
    }
    no_body(&mut call, "?read=true").await?;
    let options = Options { read: call.query().truth("read")?, repair: call.query().truth("repair")? };
    must_be_on_primary(&call)?;
    let registry = call.registry();
    Ok(json_lines::stream(|lines| async move {
        let progress = |repositories, bytes| {
            lines.progress(|| CheckLine::Progress(CheckProgress { repositories, bytes }));
            !lines.is_closed()
        };
        let last = match registry.check_with(options, progress).await {
            Ok(checked) => CheckLine::Report(convert::check_report(checked)),
            Err(error) => {
                tracing::error!(%error, "the check could not be finished");
                CheckLine::Failed(error.to_string())
            }
        };
        lines.end(&last).await;
    }))
}
