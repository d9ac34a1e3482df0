//! The endpoint table: for each path its methods, and for each method the required right, the audit action,
//! the handler and the OpenAPI operation. Other modules expand it: `extract::endpoint` (enum and parser),
//! `dispatch` and `api::openapi`.
//!
//! The table is in parts by subject, and no other list names the endpoints. A router of a crate would be a
//! second place that interprets paths: authorization needs the parsed endpoint, and the names of repositories
//! contain slashes and words of the API. A path is parsed once. A cached manifest takes 8.4 µs of CPU a
//! request, and the same answer of bare hyper 7.5 (`wharfinger-bench --only manifest`, table in
//! `docs/explanation/performance.md`).
//!
//! To add an endpoint, add its row to a part, its handler, its types in `crates/api`, and a test. A path with
//! a repository needs a case in [`Endpoint::parse`](crate::http::extract::endpoint::Endpoint::parse) as well.

pub(crate) mod accounts;
pub(crate) mod operation;
pub(crate) mod pages;
pub(crate) mod protocol;
pub(crate) mod repositories;

use ::accounts::Right;
use hyper::Method;

/// The access that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// No access check, but wrong credentials are refused.
    Nothing,
    /// Valid credentials, or an anonymous token.
    Credentials,
    /// No access check: the list shows the repositories that the caller may pull. A `closed` list asks for
    /// credentials, because its clients send them only when asked.
    List { closed: bool },
    /// `registry::access::manage` checks each operation.
    Own,
    /// A right on the repository in the path.
    Repository(Right),
}

/// The part of the API that an endpoint belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    /// The server itself, accounts and lists: a gateway answers it too.
    Server,
    /// The registry protocol, without content.
    Protocol,
    /// The registry protocol, with content that a gateway gets from its upstream.
    ProtocolContent,
    /// Other content, which a gateway does not have.
    Content,
    /// Pages for browsers. They are parsed apart from the API: see `Endpoint::parse_page`.
    Page,
}

/// The entry that an authorized request makes in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuditAction {
    /// Not recorded here: there is no repository, or `registry::access` records it.
    None,
    /// A change that others see.
    Change(&'static str),
    /// The form of a page: a change once it redirects.
    Form(&'static str),
    /// Work of an administrator on the server.
    Operate(&'static str),
    /// A blob upload: `blob.push` for the request that ends it.
    Upload,
    /// A GET of content, recorded if `audit.pulls` is set.
    Pull(&'static str),
    /// A read, recorded only if it is denied.
    Look(&'static str),
}

/// Some methods of an endpoint, which are treated alike.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) methods: &'static [Method],
    pub(crate) requirement: Requirement,
    pub(crate) audit: AuditAction,
}

/// A row of the table, without handlers.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) label: &'static str,
    pub(crate) path: &'static str,
    pub(crate) area: Area,
    pub(crate) methods: &'static [Method],
    pub(crate) operations: &'static [Operation],
}

/// Passes the table to the macro `$callback`. Each part passes the rows of the parts before it, and its own,
/// to the next one, and the last part to the callback.
///
/// A row is `Variant [parts of the path] "metrics label" "path" Area { operations }`, an operation `METHODS:
/// requirement, audit action => handler { OpenAPI summary and builder calls };`. The last operation has the
/// strongest requirement: methods that the endpoint does not take need it too, so that a 405 reveals no
/// repository.
macro_rules! endpoints {
    ($callback:ident) => {
        $crate::http::endpoints::protocol::rows! { $callback }
    };
}

pub(crate) use endpoints;
