//! Options and verbs that the commands for accounts and grants share: list, show, create, change and remove.

use std::fmt::Display;
use std::time::{Duration, UNIX_EPOCH};

use api::Page;
use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::output::{self, Failure, Format, Row};
use super::target::Target;

/// The registry to work on, and the output format.
#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) target: Target,

    #[command(flatten)]
    format: Format,
}

/// The description of a new account.
#[derive(Args, Debug)]
pub(super) struct Description {
    /// A description for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(super) description: String,
}

/// Changes that users and robots have in common.
#[derive(Args, Debug)]
pub(super) struct AccountChange {
    /// Disable the account
    #[arg(long, conflicts_with = "enable")]
    disable: bool,

    /// Enable the account again
    #[arg(long)]
    enable: bool,

    /// A description for people
    #[arg(long, value_name = "TEXT")]
    pub(super) description: Option<String>,
}

impl AccountChange {
    pub(super) fn disabled(&self) -> Option<bool> {
        either(self.disable, self.enable)
    }
}

/// The value of a pair of flags that exclude each other; `None` if neither is given.
pub(super) fn either(yes: bool, no: bool) -> Option<bool> {
    (yes || no).then_some(yes)
}

/// The age of a login or a use, for people.
pub(super) fn last_seen(seconds: Option<u64>) -> String {
    seconds.map_or("never".to_owned(), |at| output::human_age(UNIX_EPOCH + Duration::from_secs(at)))
}

/// The error of a change command without any change.
pub(super) fn nothing_to_change(flags: &str) -> Failure {
    Failure::usage("nothing to change").help(format!("give {flags}"))
}

impl Options {
    /// Prints a list of all pages.
    pub(super) async fn list<P>(&self, path: &str, filters: &[(&str, &str)]) -> Result<(), Failure>
    where
        P: Page,
        P::Entry: Row + Serialize,
    {
        let list = self.target.with(async |registry| registry.list::<P>(path, filters).await);
        self.print_list(&list.await?)
    }

    /// Prints one entry.
    pub(super) async fn show<T>(&self, path: &str) -> Result<(), Failure>
    where
        T: Row + Serialize + DeserializeOwned,
    {
        let entry: T = self.target.with(async |registry| registry.get(path).await).await?;
        self.print_entry(&entry)
    }

    /// Creates an entry with POST, and returns it.
    pub(super) async fn create<T: DeserializeOwned>(
        &self,
        path: &str,
        new: &impl Serialize,
    ) -> Result<T, Failure> {
        self.target.with(async |registry| registry.post(path, new).await).await
    }

    /// Changes an entry with PATCH, and prints it.
    pub(super) async fn change<T>(&self, path: &str, change: &impl Serialize) -> Result<(), Failure>
    where
        T: Row + Serialize + DeserializeOwned,
    {
        let entry: T = self.target.with(async |registry| registry.patch(path, change).await).await?;
        self.print_entry(&entry)
    }

    /// Creates or replaces an entry with PUT.
    pub(super) async fn put(&self, path: &str, entry: Option<&impl Serialize>) -> Result<(), Failure> {
        self.target.with(async |registry| registry.put(path, entry).await).await
    }

    /// Removes an entry, and says so. `force` removes it even if it owns repositories.
    pub(super) async fn remove(&self, path: &str, force: bool, name: &impl Display) -> Result<(), Failure> {
        let force: &[(&str, &str)] = if force { &[("force", "true")] } else { &[] };
        self.target.with(async |registry| registry.delete(path, force).await).await?;
        self.print(&json!({ "removed": [name.to_string()] }), format_args!("removed {name}"))
    }

    /// Prints a value as JSON, or else a line for people.
    pub(super) fn print(&self, value: &impl Serialize, line: impl Display) -> Result<(), Failure> {
        if self.format.json { output::print_json(value) } else { output::print(format_args!("{line}\n")) }
    }

    /// Prints a secret alone on standard output, and a remark on standard error; or all of it as JSON.
    pub(super) fn print_secret(
        &self,
        value: &impl Serialize,
        secret: &api::Secret,
        remark: impl Display,
    ) -> Result<(), Failure> {
        if !self.format.json {
            output::remark(format_args!("{remark}\n"));
        }
        self.print(value, secret.reveal())
    }

    pub(super) fn print_list<T: Row + Serialize>(&self, entries: &[T]) -> Result<(), Failure> {
        output::print_list(self.format, entries)
    }

    /// Prints one entry: a JSON object, or a table of one row.
    pub(super) fn print_entry<T: Row + Serialize>(&self, entry: &T) -> Result<(), Failure> {
        if self.format.json {
            output::print_json(entry)
        } else {
            output::print_list(self.format, std::slice::from_ref(entry))
        }
    }

    /// Whether the output is JSON.
    pub(super) fn json(&self) -> bool {
        self.format.json
    }
}
