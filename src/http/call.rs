//! The argument of every handler.

use hyper::header::HOST;
use registry::Registry;

use crate::http::app::App;
use crate::http::error::Error;
use crate::http::extract::page::PageRequest;
use crate::http::extract::query::Query;
use crate::http::extract::request::Request;
use crate::http::middleware::caller::Caller;

/// An authorized request.
pub(crate) struct Call<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: &'a Caller<'a>,
    pub(crate) request: Request,
}

impl<'a> Call<'a> {
    /// The registry, which records the caller and the request with each change.
    pub(crate) fn registry(&self) -> Registry {
        self.app.registry.acting_as(self.caller.actor(&self.request.id))
    }

    /// Returns the same call as a GET.
    pub(crate) fn as_get(&self) -> Call<'a> {
        Call { app: self.app, caller: self.caller, request: self.request.as_get() }
    }

    pub(crate) fn query(&self) -> Query<'_> {
        self.request.query()
    }

    /// Returns the registry's URL as the client called it.
    pub(crate) fn base(&self) -> Option<String> {
        self.app.base(self.caller.client(), self.request.headers.get(HOST))
    }

    pub(crate) fn page(&self) -> Result<PageRequest<'_>, Error> {
        PageRequest::read(self.query(), self.app.limits.page_entries)
    }
}
