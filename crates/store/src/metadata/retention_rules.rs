//! Retention rules of the server and of owners, as JSON that the registry writes and reads.

use accounts::AccountName;

use super::sql::params;
use super::writer::Durability;
use super::{Metadata, columns};
use crate::StoreError;

/// The key of the rules of an owner, or of the server. No account has the empty name.
fn key(owner: Option<&AccountName>) -> String {
    owner.map(ToString::to_string).unwrap_or_default()
}

impl Metadata {
    /// The rules of an owner, or of the server; `None` if it has none.
    pub async fn retention_rules(&self, owner: Option<&AccountName>) -> Result<Option<String>, StoreError> {
        let key = key(owner);
        self.read(move |sql| {
            let rules = "SELECT rules FROM retention_rules WHERE owner = ?1";
            sql.first(rules, params![key], |row| row.get(0))
        })
        .await
    }

    /// The rules of all owners.
    pub async fn all_retention_rules(&self) -> Result<Vec<(AccountName, String)>, StoreError> {
        self.read(|sql| {
            sql.all("SELECT owner, rules FROM retention_rules WHERE owner <> '' ORDER BY owner", &[], |row| {
                Ok((columns::text(row, 0)?, row.get(1)?))
            })
        })
        .await
    }

    /// Sets the rules of an owner, or of the server; `None` removes them.
    pub async fn set_retention_rules(
        &self,
        owner: Option<&AccountName>,
        rules: Option<String>,
    ) -> Result<(), StoreError> {
        let key = key(owner);
        self.write(Durability::Disk, move |sql| {
            match &rules {
                Some(rules) => sql.run(
                    "INSERT INTO retention_rules (owner, rules, updated_at) VALUES (?1, ?2, ?3)
                     ON CONFLICT (owner) DO UPDATE SET rules = excluded.rules, updated_at = excluded.updated_at",
                    params![key, rules, columns::now()],
                )?,
                None => sql.run("DELETE FROM retention_rules WHERE owner = ?1", params![key])?,
            };
            Ok(())
        })
        .await
    }
}
