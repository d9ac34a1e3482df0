//! `/`: what this is, for people who open the address in a browser.

use crate::http::middleware::authorization::Caller;
use crate::http::response::{self, Response};

pub(crate) fn get(caller: &Caller) -> Response {
    let base = caller.base().split_once("://").map(|(_, host)| host);
    let host = base.unwrap_or("localhost:5000");
    response::text(format!(
        "Wharfinger {}, a container registry.\n\n\
         push    docker push {host}/team/app:1.0\n\
         pull    docker pull {host}/team/app:1.0\n\
         search  docker search {host}/app\n",
        env!("CARGO_PKG_VERSION"),
    ))
}
