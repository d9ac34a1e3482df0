//! `/v1/search?q=…&n=…&page=…`: repository search for `docker search` and `podman search`.

use registry::mirror;
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

impl From<mirror::Found> for Found {
    fn from(found: mirror::Found) -> Self {
        Self {
            name: found.name.to_string(),
            description: found.description,
            star_count: found.stars,
            is_official: found.is_official,
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
    let visible = caller.visible();
    let SearchPage { mut total, hits } = app.registry.search(&visible, &wanted, offset, page_size).await?;
    let mut results: Vec<Found> = hits.into_iter().map(Found::from).collect();
    if let Some(mirror) = &app.mirror {
        // Repositories of upstreams follow those that are here.
        let found = mirror.search(&wanted, caller.identity(), caller.address(), &visible).await?;
        let skipped = usize::try_from((offset as u64).saturating_sub(total)).unwrap_or(usize::MAX);
        let room = page_size - results.len();
        total += found.len() as u64;
        results.extend(found.into_iter().skip(skipped).take(room).map(Found::from));
    }
    Ok(response::json(&Results {
        query: &wanted,
        num_results: total,
        num_pages: total.div_ceil(page_size as u64),
        page,
        page_size,
        results,
    }))
}
