//! `/v1/search?q=…&n=…&page=…`: repository search for `docker search` and `podman search`.

use registry::records::{Hit, SearchPage};
use serde::Serialize;

use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

/// The page size without `n`.
const DEFAULT_SIZE: usize = 25;
/// The maximum page size, as on Docker Hub.
const MAX_SIZE: usize = 100;

#[derive(Serialize)]
struct Results<'a> {
    query: &'a str,
    num_results: u64,
    num_pages: u64,
    page: usize,
    page_size: usize,
    results: Vec<Found>,
}

/// A repository, with the fields of Docker Hub that docker expects.
#[derive(Serialize)]
struct Found {
    name: String,
    description: String,
    star_count: u64,
    is_official: bool,
    is_automated: bool,
}

impl From<Hit> for Found {
    fn from(hit: Hit) -> Self {
        Self {
            name: hit.name.as_str().to_owned(),
            description: hit.description,
            star_count: 0,
            is_official: false,
            is_automated: false,
        }
    }
}

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    let Call { app, caller, request } = &call;
    let query = request.query();
    let page_size = match query.number("n")? {
        Some(0) => return Err(Error::BadParameter { parameter: "n", expected: "at least 1" }),
        size => size.unwrap_or(DEFAULT_SIZE).min(MAX_SIZE),
    };
    let page = match query.number("page")? {
        Some(0) => return Err(Error::BadParameter { parameter: "page", expected: "at least 1" }),
        page => page.unwrap_or(1),
    };
    let wanted = query.get("q").unwrap_or_default();
    let offset = (page - 1).saturating_mul(page_size);
    let SearchPage { total, hits } =
        app.registry.search(&caller.visible(), &wanted, offset, page_size).await?;
    Ok(response::json(&Results {
        query: &wanted,
        num_results: total,
        num_pages: total.div_ceil(page_size as u64),
        page,
        page_size,
        results: hits.into_iter().map(Found::from).collect(),
    }))
}
