//! `/`: a page for people who open the registry in a browser.

use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    let base = call.base();
    let host =
        base.as_deref().and_then(|base| base.split_once("://")).map_or("localhost:5000", |(_, host)| host);
    Ok(response::text(format!(
        "Wharfinger {}, a container registry.\n\n\
         push    docker push {host}/team/app:1.0\n\
         pull    docker pull {host}/team/app:1.0\n\
         search  docker search {host}/app\n",
        env!("CARGO_PKG_VERSION"),
    )))
}
