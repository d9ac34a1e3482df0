//! `/-/assets/<name>`: style sheet, script and icon, embedded in the binary. A name has the hash of the
//! content, so that browsers cache it for ever.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue};

use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::path_part::PathError;
use crate::http::response::{self, Response};

struct Asset {
    name: String,
    media_type: &'static str,
    content: &'static [u8],
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        asset("style", "css", "text/css; charset=utf-8", include_bytes!("../../../assets/style.css")),
        asset("script", "js", "text/javascript; charset=utf-8", include_bytes!("../../../assets/script.js")),
        asset("icon", "svg", "image/svg+xml", include_bytes!("../../../assets/icon.svg")),
    ]
});

fn asset(stem: &str, extension: &str, media_type: &'static str, content: &'static [u8]) -> Asset {
    let hash: String =
        digest(&SHA256, content).as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    Asset { name: format!("{stem}.{hash}.{extension}"), media_type, content }
}

/// Returns the name of an asset by its stem.
pub(crate) fn name(stem: &str) -> &'static str {
    let found = ASSETS.iter().find(|asset| asset.name.split('.').next() == Some(stem));
    found.map_or("", |asset| &asset.name)
}

pub(crate) async fn get(_call: Call<'_>, name: &str) -> Result<Response, Error> {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return Err(PathError::NoSuchPath.into());
    };
    let mut response = response::content(HeaderValue::from_static(asset.media_type), asset.content);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    Ok(response)
}
