//! `/`: what this is, for people who open the address in a browser.

use hyper::header::HOST;

use super::app::App;
use super::request::Request;
use super::response::{self, Response};

pub(crate) fn get(app: &App, request: &Request) -> Response {
    let own = app.links.absolute("");
    let asked = request.header(HOST).filter(|host| is_sane(host));
    let host = own.split_once("://").map(|(_, host)| host).or(asked).unwrap_or("localhost:5000");
    response::text(format!(
        "Wharfinger {}, a container registry.\n\n\
         push    docker push {host}/team/app:1.0\n\
         pull    docker pull {host}/team/app:1.0\n\
         search  docker search {host}/app\n",
        env!("CARGO_PKG_VERSION"),
    ))
}

/// Whether it can be repeated to whoever sent it.
fn is_sane(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 255
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}
