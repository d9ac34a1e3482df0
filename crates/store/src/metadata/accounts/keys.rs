//! Keys that sign bearer tokens.

use std::time::SystemTime;

use super::super::Metadata;
use super::super::columns;
use super::super::sql::params;
use super::super::writer::Durability;
use super::SigningKey;
use crate::StoreError;

impl Metadata {
    /// Returns all keys, the newest first.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        self.read(|sql| {
            sql.all(
                "SELECT id, secret, created_at FROM signing_keys ORDER BY created_at DESC, id",
                &[],
                |row| {
                    Ok(SigningKey {
                        id: row.get(0)?,
                        secret: row.get(1)?,
                        created_at: columns::time(row, 2)?,
                    })
                },
            )
        })
        .await
    }

    /// Inserts a key, created now.
    pub async fn add_signing_key(&self, id: String, secret: Vec<u8>) -> Result<(), StoreError> {
        self.write(Durability::Disk, move |sql| {
            sql.run(
                "INSERT INTO signing_keys (id, secret, created_at) VALUES (?1, ?2, ?3)",
                params![id, secret, columns::now()],
            )?;
            Ok(())
        })
        .await
    }

    /// Deletes the keys older than `before`, except the newest. Returns their number.
    pub async fn remove_signing_keys(&self, before: SystemTime) -> Result<usize, StoreError> {
        self.write(Durability::Disk, move |sql| {
            sql.run(
                "DELETE FROM signing_keys WHERE created_at < ?1
                 AND created_at < (SELECT MAX(created_at) FROM signing_keys)",
                params![columns::time_in(before)],
            )
        })
        .await
    }
}
