//! Changes as their handler describes them, for the audit log. The audit middleware knows only the request
//! line.

use crate::http::response::Response;

/// An entry of the audit log.
#[derive(Clone, Debug)]
pub(crate) struct AuditedChange {
    pub(crate) action: &'static str,
    pub(crate) object: Option<String>,
    pub(crate) detail: Option<String>,
}

impl AuditedChange {
    pub(crate) fn new(action: &'static str, object: String) -> Self {
        Self { action, object: Some(object), detail: None }
    }

    /// A change of the server itself.
    pub(crate) fn of_server(action: &'static str) -> Self {
        Self { action, object: None, detail: None }
    }

    /// Adds the entry to a response.
    pub(crate) fn on(self, response: Response) -> Response {
        Self::all_on(vec![self], response)
    }

    /// Adds entries to a response. Without one, the request has changed nothing.
    pub(crate) fn all_on(changes: Vec<Self>, mut response: Response) -> Response {
        response.extensions_mut().insert(AuditedChanges(changes));
        response
    }
}

/// The entries of a response.
#[derive(Clone, Debug)]
pub(crate) struct AuditedChanges(pub(crate) Vec<AuditedChange>);
