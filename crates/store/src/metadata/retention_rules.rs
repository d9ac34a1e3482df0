//! Retention rules of owners, as JSON that the registry writes and reads.

use accounts::AccountName;

use super::sql::params;
use super::writer::Durability;
use super::{Metadata, columns};
use crate::StoreError;

impl Metadata {
    /// The rules of an owner; `None` if it has set none.
    pub async fn retention_rules(&self, owner: &AccountName) -> Result<Option<String>, StoreError> {
        let owner = owner.clone();
        self.read(move |sql| {
            sql.first("SELECT rules FROM retention_rules WHERE owner = ?1", params![owner.as_str()], |row| {
                row.get(0)
            })
        })
        .await
    }

    /// The rules of all owners.
    pub async fn all_retention_rules(&self) -> Result<Vec<(AccountName, String)>, StoreError> {
        self.read(|sql| {
            sql.all("SELECT owner, rules FROM retention_rules ORDER BY owner", &[], |row| {
                Ok((columns::text(row, 0)?, row.get(1)?))
            })
        })
        .await
    }

    /// Sets the rules of an owner; `None` removes them.
    pub async fn set_retention_rules(
        &self,
        owner: &AccountName,
        rules: Option<String>,
    ) -> Result<(), StoreError> {
        let owner = owner.clone();
        self.write(Durability::Disk, move |sql| {
            match &rules {
                Some(rules) => sql.run(
                    "INSERT INTO retention_rules (owner, rules, updated_at) VALUES (?1, ?2, ?3)
                     ON CONFLICT (owner) DO UPDATE SET rules = excluded.rules, updated_at = excluded.updated_at",
                    params![owner.as_str(), rules, columns::now()],
                )?,
                None => sql.run("DELETE FROM retention_rules WHERE owner = ?1", params![owner.as_str()])?,
            };
            Ok(())
        })
        .await
    }
}
