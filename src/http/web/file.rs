//! `/-/file/<repository>@<digest>`: a blob as a file to save, such as an SBOM. A browser must not show it,
//! because a pusher chose its content.

use hyper::StatusCode;
use hyper::header::{
    CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
};
use oci::{Digest, RepositoryName};

use super::content;
use crate::http::body::Body;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::conditional::{IMMUTABLE, Validators};
use crate::http::response::{self, Response};

pub(crate) async fn get(
    call: Call<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Response, Error> {
    if call.app.content_proxy.is_some() {
        return from_upstream(&call, repository, digest).await;
    }
    let blob = call.app.registry.open_blob(repository, digest).await?;
    let validators = Validators::new(digest, IMMUTABLE);
    if validators.are_known(&call.request.headers) {
        let mut response = response::status(StatusCode::NOT_MODIFIED);
        validators.write(response.headers_mut());
        return Ok(response);
    }
    let size = blob.size;
    let body = if call.request.is_head() { Body::default() } else { Body::blob(blob.read(0..size)) };
    let mut response = download(&call, digest, size, body);
    validators.write(response.headers_mut());
    Ok(response)
}

/// The largest file of an upstream, in bytes. It is verified before it is sent.
const MAX_UPSTREAM: u64 = 16 << 20;

async fn from_upstream(
    call: &Call<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Response, Error> {
    let content = content::blob(call.app, repository, digest, MAX_UPSTREAM).await?;
    let unknown = || registry::Error::BlobUnknown { repository: repository.clone(), digest: *digest };
    let content = content.ok_or_else(unknown)?;
    Ok(download(call, digest, content.len() as u64, Body::full(content)))
}

/// Returns a file to save.
fn download(call: &Call<'_>, digest: &Digest, size: u64, body: Body) -> Response {
    let name = call.query().get_filled("name").map(|name| safe_name(&name)).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| digest.to_string().replace(':', "-"));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    response
}

/// Returns the last component of a file name, with the characters that every system takes.
fn safe_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let safe = last
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() || "._-+".contains(char) { char } else { '_' });
    safe.take(120).collect::<String>().trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_plain() {
        assert_eq!(safe_name("sbom.spdx.json"), "sbom.spdx.json");
        assert_eq!(safe_name("../../etc/pass\"wd\r\n"), "pass_wd__");
        assert_eq!(safe_name("..\\x<script>.html"), "x_script_.html");
        assert_eq!(safe_name("..."), "");
    }
}
