//! `/metrics` on the main port: for administrators, and for clients on this machine while there are no
//! accounts.

use crate::http::api::manage;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    let Call { app, caller, .. } = &call;
    let by_command = caller.reached().is_none();
    if app.accounts.in_force() {
        manage::must_be_administrator(&call)?;
    } else if !by_command && !caller.address().is_loopback() {
        // A reverse proxy on this machine passes on clients from elsewhere.
        return Err(Error::MetricsElsewhere);
    }
    if !by_command && !app.metrics.on_main_port {
        return Err(Error::MetricsElsewhere);
    }
    Ok(app.metrics.scrape().await)
}
