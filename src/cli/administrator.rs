//! The administrator that the first start creates. A flag or the environment names it. Its password comes
//! from a file or the environment, never from an argument, because every user of the machine can read
//! arguments.

use std::path::PathBuf;

use accounts::AccountName;
use clap::Args;

use super::output::Failure;
use super::password;
use crate::config::{ADMIN_PASSWORD_VARIABLE, ADMIN_VARIABLE};
use crate::operator_file;
use crate::serve::FirstAdministrator;

#[derive(Args, Clone, Debug, Default)]
pub(super) struct Administrator {
    /// Create an administrator of this name, unless the account exists; the password comes from
    /// --admin-password-file or $WHARFINGER_ADMIN_PASSWORD [default: $WHARFINGER_ADMIN]
    #[arg(long, value_name = "NAME")]
    admin: Option<AccountName>,

    /// The file with the password of that administrator
    #[arg(long, value_name = "FILE")]
    admin_password_file: Option<PathBuf>,
}

impl Administrator {
    /// Reads name and password of the administrator, if one is named.
    pub(super) fn read(&self) -> Result<Option<FirstAdministrator>, Failure> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let name = match (&self.admin, variable(ADMIN_VARIABLE)) {
            (Some(name), _) => name.clone(),
            (None, Some(name)) => name.parse().map_err(|error| {
                Failure::usage(format!("{ADMIN_VARIABLE} is not the name of an account: {error}"))
            })?,
            (None, None) if self.admin_password_file.is_some() => {
                return Err(Failure::usage("--admin-password-file is given without --admin NAME"));
            }
            (None, None) => return Ok(None),
        };
        let password = match &self.admin_password_file {
            Some(path) => {
                let text = operator_file::read_to_string(path).map_err(|error| {
                    Failure::usage(format!("cannot read the password in {}", path.display())).because(&error)
                })?;
                password::bare(&text).to_owned()
            }
            None => variable(ADMIN_PASSWORD_VARIABLE)
                .map(|text| password::bare(&text).to_owned())
                .ok_or_else(|| {
                    Failure::usage(format!("the administrator {name} needs a password")).help(format!(
                        "give it with --admin-password-file FILE or in {ADMIN_PASSWORD_VARIABLE}"
                    ))
                })?,
        };
        Ok(Some(FirstAdministrator { name, password }))
    }
}
