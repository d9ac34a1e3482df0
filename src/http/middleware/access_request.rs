//! The parts of a request that authorization reads.

use hyper::header::HeaderMap;
use hyper::{Method, Uri};

use crate::http::extract::endpoint::Endpoint;
use crate::http::middleware::client_info::ClientInfo;

#[derive(Clone, Copy)]
pub(crate) struct AccessRequest<'a> {
    /// `None` if the path is invalid.
    pub(crate) endpoint: Option<&'a Endpoint>,
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) client: &'a ClientInfo,
}
