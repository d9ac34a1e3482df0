//! The actor of a change: the account and the request behind it.

use std::net::IpAddr;

/// The account and the request that change something. The default is the server itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// The account, `(operator)` for the control socket, or the task of the server. `None` if it is
    /// anonymous.
    pub account: Option<String>,
    /// The id of the request. `None` for tasks of the server.
    pub request_id: Option<String>,
    /// The client's address. `None` for the operator and for tasks of the server.
    pub address: Option<IpAddr>,
    /// Whether it may do everything: an administrator or the operator.
    pub is_administrator: bool,
    /// The reason of the change, such as a retention rule.
    pub reason: Option<String>,
    /// The run of the retention that makes the change.
    pub run: Option<String>,
}

impl Actor {
    /// A task of the server, such as garbage collection. Its name has parentheses, which no account can have.
    #[must_use]
    pub fn task(name: &str) -> Self {
        Self { account: Some(format!("({name})")), ..Self::default() }
    }
}
