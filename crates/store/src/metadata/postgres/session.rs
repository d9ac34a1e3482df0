//! A session: one connection to PostgreSQL with its prepared statements, its transaction and its time-outs.
//!
//! PostgreSQL ends a statement or the wait for a lock that takes too long. If it does not answer even then,
//! because its process or machine is stopped, the session gives up its connection.
//!
//! Statements whose results nobody needs are sent without waiting for their answers, which come before that of
//! the next statement. An error among them fails the transaction, and is reported by that statement, or by
//! [`settle`](Session::settle). About half of the statements of a push are of this kind.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join;
use tokio::task::AbortHandle;
use tokio_postgres::{Client, Error, Row, SimpleQueryMessage, Statement};

use super::super::value::Value;
use super::tls::Tls;
use super::values::{Encoded, Parameter};
use super::{runtime, values};
use crate::StoreError;
use crate::database_url::DatabaseUrl;
use crate::metadata::DatabaseError;

/// The number of prepared statements that a session keeps: more than there are kinds of statements.
const STATEMENTS: usize = 512;

/// The settings of each session, and its statement time-out in milliseconds.
///
/// Compiling a plan takes longer than the statements run. The keepalives let the server notice a client that
/// is gone, which may hold the right to write. The time-outs of the URL, the role or the database have
/// precedence.
const SET_UP: &str = "SET jit = off; SET client_min_messages = warning; SET tcp_keepalives_idle = 30; \
    SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 30000; \
    SELECT set_config(name, value, false) FROM (VALUES ('lock_timeout', '5s'), ('statement_timeout', '30s'), \
        ('idle_in_transaction_session_timeout', '60s')) AS timeout (name, value) WHERE current_setting(name) = '0'; \
    SELECT setting FROM pg_settings WHERE name = 'statement_timeout'";

/// Lifts the time-outs of a long transaction, but not that of locks.
const LONG: &str = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";

/// The time for the error of a statement that timed out to arrive.
const ARRIVAL: Duration = Duration::from_secs(5);

/// The state of the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transaction {
    None,
    /// It begins together with its first statement, which saves a round trip.
    Waiting(&'static str),
    Open,
    /// A statement failed. The server refuses others until the end of the transaction, or of its part.
    Failed,
}

/// The answer to a statement that was sent.
type Answer = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

pub(in super::super) struct Session {
    client: Arc<Client>,
    /// Ends the connection at once.
    connection: AbortHandle,
    statement_timeout: Duration,
    /// Whether the transaction has no time-out of statements.
    is_long: Cell<bool>,
    /// Whether an answer did not come in time.
    has_given_up: Cell<bool>,
    /// The statements by their text. Parameters of other types need another statement.
    statements: RefCell<HashMap<Box<str>, Vec<Prepared>>>,
    transaction: Cell<Transaction>,
    /// Answers that nobody has looked at, in the order of their statements.
    answers: RefCell<Vec<Answer>>,
}

struct Prepared {
    /// Whether it asks if the text returns a row.
    is_question: bool,
    /// The types that the parameters had.
    types: Vec<tokio_postgres::types::Type>,
    statement: Statement,
}

impl Session {
    pub(in super::super) fn connect(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let (config, tls) = (url.config.clone(), Tls::new(&url.encryption)?);
        let within = url.connect_within();
        let (answer, answered) = mpsc::channel();
        runtime::handle()?.spawn(async move {
            // The time-out of the driver ends with the connection: a server may accept it, and say nothing.
            let connected = match tokio::time::timeout(within, config.connect(tls)).await {
                Ok(connected) => connected.map_err(StoreError::from),
                Err(_) => Err(unanswered(within)),
            };
            let connected = connected.map(|(client, connection)| {
                let connection = tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection to the metadata database broke");
                    }
                });
                (client, connection.abort_handle())
            });
            // The caller waits for it.
            let _ = answer.send(connected);
        });
        let (client, connection) = answered.recv().map_err(|_| StoreError::Closed)??;
        let mut session = Self {
            client: Arc::new(client),
            connection,
            statement_timeout: within,
            is_long: Cell::new(false),
            has_given_up: Cell::new(false),
            statements: RefCell::default(),
            transaction: Cell::new(Transaction::None),
            answers: RefCell::default(),
        };
        let messages = session.wait(session.client.simple_query(SET_UP))?;
        let milliseconds = messages.iter().rev().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        });
        session.statement_timeout = milliseconds
            .map(Duration::from_millis)
            .ok_or_else(|| StoreError::Damaged("the database tells no statement_timeout".to_owned()))?;
        Ok(session)
    }

    /// Whether the connection is known to be broken.
    pub(in super::super) fn is_closed(&self) -> bool {
        self.has_given_up.get() || self.client.is_closed()
    }

    /// The time after which PostgreSQL ends a statement.
    pub(in super::super) fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    /// Sets the time after which PostgreSQL ends a statement.
    pub(in super::super) fn limit_statements(&mut self, within: Duration) -> Result<(), StoreError> {
        self.script(&format!("SET statement_timeout = {}", within.as_millis()))?;
        self.statement_timeout = within;
        Ok(())
    }

    /// Waits for the answer to a request. Gives up the connection if none comes.
    fn wait<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
        let within = self.statement_timeout + self.statement_timeout.min(ARRIVAL);
        if self.has_given_up.get() {
            return Err(unanswered(within));
        }
        match runtime::wait(request, Some(within).filter(|_| !self.is_long.get())) {
            Some(answer) => Ok(answer?),
            None => {
                self.has_given_up.set(true);
                self.connection.abort();
                Err(unanswered(within))
            }
        }
    }

    /// Runs several statements, which return no rows.
    pub(in super::super) fn script(&self, sql: &str) -> Result<(), StoreError> {
        self.ask(self.client.batch_execute(sql))
    }

    /// Runs a statement. Returns the number of rows that it changed.
    pub(in super::super) fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<usize, StoreError> {
        let statement = self.prepare(sql, params, false)?;
        let changed = self.ask(self.client.execute_raw(&statement, parameters(params)))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    /// Sends a statement of the open transaction.
    pub(in super::super) fn send(&self, sql: &str, params: &[Value<'_>]) -> Result<(), StoreError> {
        let statement = self.prepare(sql, params, false)?;
        let params = params.iter().map(|value| Encoded::new(*value)).collect::<Result<Vec<_>, _>>()?;
        let client = self.client.clone();
        self.start(Box::pin(async move { client.execute_raw(&statement, params).await.map(drop) }))
    }

    /// Sends a statement of the open transaction that has no parameters and is not prepared.
    pub(in super::super) fn send_script(&self, sql: &'static str) -> Result<(), StoreError> {
        let client = self.client.clone();
        self.start(Box::pin(async move { client.batch_execute(sql).await }))
    }

    fn start(&self, mut answer: Answer) -> Result<(), StoreError> {
        if self.transaction.get() != Transaction::Open {
            return self.ask(answer);
        }
        match runtime::start(answer.as_mut()) {
            Some(Err(error)) => {
                self.transaction.set(Transaction::Failed);
                // The first error is the cause of this one.
                self.settle()?;
                Err(error.into())
            }
            // The connection has a thread of its own, which may be this fast.
            Some(Ok(())) => Ok(()),
            None => {
                self.answers.borrow_mut().push(answer);
                Ok(())
            }
        }
    }

    /// Waits for the answers to all statements that were sent. Returns the first error.
    pub(in super::super) fn settle(&self) -> Result<(), StoreError> {
        let mut settled = Ok(());
        for answer in self.answers.take() {
            let answer = self.wait(answer);
            settled = settled.and(answer);
        }
        if settled.is_err() && self.transaction.get() == Transaction::Open {
            self.transaction.set(Transaction::Failed);
        }
        settled
    }

    /// Returns all rows. While they are read, other statements may run.
    pub(in super::super) fn query(&self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        self.rows(&self.prepare(sql, params, false)?, params)
    }

    /// Whether a statement returns a row.
    pub(in super::super) fn exists(&self, sql: &str, params: &[Value<'_>]) -> Result<bool, StoreError> {
        let rows = self.rows(&self.prepare(sql, params, true)?, params)?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }

    /// Whether the schema has a table.
    pub(in super::super) fn has_table(&self, name: &str) -> Result<bool, StoreError> {
        let table = "SELECT 1 FROM pg_tables WHERE schemaname = CURRENT_SCHEMA() AND tablename = ?1";
        self.exists(table, &[Value::Text(name)])
    }

    fn rows(&self, statement: &Statement, params: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        self.ask(async {
            let mut rows = Vec::new();
            let mut stream = pin!(self.client.query_raw(statement, parameters(params)).await?);
            while let Some(row) = stream.next().await {
                rows.push(row?);
            }
            Ok(rows)
        })
    }

    fn prepare(&self, sql: &str, params: &[Value<'_>], is_question: bool) -> Result<Statement, StoreError> {
        let types = params.iter().map(|value| values::type_of(*value));
        if let Some(known) = self.statements.borrow().get(sql)
            && let Some(known) = known.iter().find(|known| {
                known.is_question == is_question && types.clone().eq(known.types.iter().cloned())
            })
        {
            return Ok(known.statement.clone());
        }
        let types: Vec<_> = types.collect();
        let mut text = with_dollars(sql);
        if is_question {
            text = format!("SELECT EXISTS ({text})");
        }
        let statement = self.ask(self.client.prepare_typed(&text, &types))?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= STATEMENTS {
            statements.clear();
        }
        let prepared = Prepared { is_question, types, statement: statement.clone() };
        statements.entry(sql.into()).or_default().push(prepared);
        Ok(statement)
    }

    /// Waits for the answer to a request. An error fails the transaction.
    fn ask<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
        let answer = if let Transaction::Waiting(begin) = self.transaction.get() {
            self.transaction.set(Transaction::Open);
            self.wait(async {
                let (begun, answer) = join(self.client.batch_execute(begin), request).await;
                begun.and(answer)
            })
        } else {
            self.wait(request)
        };
        if answer.is_err() && self.transaction.get() == Transaction::Open {
            self.transaction.set(Transaction::Failed);
        }
        // The first error is the cause of this one.
        self.settle()?;
        answer
    }

    /// Begins a transaction. Returns the number that the last statement of `begin` returns, if it returns
    /// one. After an error the transaction may have begun, and has to be rolled back.
    pub(in super::super) fn begin(&self, begin: &str) -> Result<Option<i64>, StoreError> {
        self.transaction.set(Transaction::Failed);
        let messages = self.wait(self.client.simple_query(begin))?;
        self.transaction.set(Transaction::Open);
        Ok(messages.iter().rev().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        }))
    }

    /// Begins a transaction whose statements may take long.
    pub(in super::super) fn begin_long(&self, begin: &str) -> Result<Option<i64>, StoreError> {
        let number = self.begin(&format!("{begin}; {LONG}"))?;
        self.is_long.set(true);
        Ok(number)
    }

    /// Begins a transaction that only reads, with its first statement.
    pub(in super::super) fn begin_with_first(&self, begin: &'static str) {
        self.transaction.set(Transaction::Waiting(begin));
    }

    /// Ends a transaction that only reads, without waiting for the answer.
    pub(in super::super) fn end_without_wait(&self) {
        if !matches!(self.transaction.replace(Transaction::None), Transaction::None | Transaction::Waiting(_))
        {
            runtime::start(self.client.batch_execute("COMMIT"));
        }
    }

    /// Whether a transaction is open, even if it failed.
    pub(in super::super) fn is_in_transaction(&self) -> bool {
        self.transaction.get() != Transaction::None && !self.is_closed()
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if a statement of it failed: the server would roll back, and report no error.
    pub(in super::super) fn commit(&self) -> Result<(), StoreError> {
        if self.transaction.get() == Transaction::Failed {
            return Err(StoreError::Damaged("a transaction goes on after a failed statement".to_owned()));
        }
        let committed = self.wait(self.client.batch_execute("COMMIT"));
        let settled = self.settle();
        self.ended();
        committed.and(settled)
    }

    /// Rolls back the transaction.
    pub(in super::super) fn rollback(&self) -> Result<(), StoreError> {
        self.ended();
        self.wait(self.client.batch_execute("ROLLBACK"))
    }

    fn ended(&self) {
        self.answers.borrow_mut().clear();
        self.transaction.set(Transaction::None);
        self.is_long.set(false);
    }

    /// Rolls back a part of the transaction, which may have failed.
    pub(in super::super) fn rollback_to(&self, rollback: &str) -> Result<(), StoreError> {
        self.answers.borrow_mut().clear();
        self.wait(self.client.batch_execute(rollback))?;
        self.transaction.set(Transaction::Open);
        Ok(())
    }
}

fn unanswered(within: Duration) -> StoreError {
    StoreError::Database(DatabaseError::away(format!("PostgreSQL has not answered for {within:?}")))
}

fn parameters<'a>(params: &'a [Value<'a>]) -> impl ExactSizeIterator<Item = Parameter<'a>> {
    params.iter().map(|value| Parameter(*value))
}

/// Replaces the parameters `?1`, `?2` … by `$1`, `$2` …
fn with_dollars(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len());
    let mut is_quoted = false;
    for char in sql.chars() {
        is_quoted ^= char == '\'';
        text.push(if char == '?' && !is_quoted { '$' } else { char });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_never_shown() {
        let shown = format!("{:?}", parameters(&[Value::Text("secret")]).collect::<Vec<_>>());
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn parameters_get_dollars() {
        assert_eq!(
            with_dollars("SELECT ?1, '?', 'it''s ?2' WHERE a = ?12"),
            "SELECT $1, '?', 'it''s ?2' WHERE a = $12"
        );
    }
}
