//! Tokens: secrets of accounts, stored as hashes.

use std::time::SystemTime;

use super::super::Metadata;
use super::super::columns;
use super::super::sql::{Row, Sql, params};
use super::super::writer::Durability;
use super::account_rows::{self, account_columns};
use super::{AccountRecord, Limit, NewToken, TokenChange, TokenKind, TokenRecord};
use crate::StoreError;

impl Metadata {
    /// Inserts a token. Returns `None` if its account does not exist.
    ///
    /// # Errors
    /// [`StoreError::LimitReached`], if the account has so many tokens of the kind.
    pub async fn add_token(
        &self,
        token: NewToken,
        limit: Option<Limit>,
    ) -> Result<Option<TokenRecord>, StoreError> {
        self.write(Durability::Disk, move |sql| {
            if let Some(limit) = limit {
                let count = "SELECT COUNT(*) FROM tokens WHERE account = ?1 AND kind = ?2";
                limit.check(sql, count, params![token.account, token.kind.as_str()])?;
            }
            add(sql, &token)
        })
        .await
    }

    /// Inserts a token, and deletes the oldest ones of its kind and account beyond `most`. Returns `None` if
    /// the account does not exist.
    pub async fn add_token_for_oldest(
        &self,
        token: NewToken,
        most: usize,
    ) -> Result<Option<TokenRecord>, StoreError> {
        self.write(Durability::Disk, move |sql| {
            let added = add(sql, &token)?;
            sql.run(
                "DELETE FROM tokens WHERE account = ?1 AND kind = ?2 AND id <= (
                     SELECT id FROM tokens WHERE account = ?1 AND kind = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)",
                params![token.account, token.kind.as_str(), columns::limit_in(most)],
            )?;
            Ok(added)
        })
        .await
    }

    /// Returns the tokens of an account of one kind, by id.
    pub async fn tokens(
        &self,
        account: i64,
        kind: TokenKind,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<TokenRecord>, StoreError> {
        self.read(move |sql| {
            sql.all(
                concat!(
                    token_columns!(),
                    " FROM tokens t WHERE t.account = ?1 AND t.kind = ?2 AND t.id > ?3 ORDER BY t.id LIMIT ?4"
                ),
                params![account, kind.as_str(), after.unwrap_or(0), columns::limit_in(limit)],
                record,
            )
        })
        .await
    }

    /// Changes a token of this account and kind. Returns the changed token, or `None` if it does not exist.
    pub async fn change_token(
        &self,
        account: i64,
        kind: TokenKind,
        id: i64,
        change: TokenChange,
    ) -> Result<Option<TokenRecord>, StoreError> {
        self.write(Durability::Disk, move |sql| {
            let token = sql.first(
                concat!(
                    token_columns!(),
                    " FROM tokens t WHERE t.id = ?1 AND t.account = ?2 AND t.kind = ?3"
                ),
                params![id, account, kind.as_str()],
                record,
            )?;
            let Some(mut token) = token else { return Ok(None) };
            token.label = change.label.clone().unwrap_or(token.label);
            token.rights = change.rights.unwrap_or(token.rights);
            token.patterns = change.patterns.clone().unwrap_or(token.patterns);
            token.expires_at = change.expires_at.unwrap_or(token.expires_at);
            sql.run(
                "UPDATE tokens SET label = ?2, rights = ?3, patterns = ?4, expires_at = ?5 WHERE id = ?1",
                params![
                    id,
                    token.label,
                    token.rights.map(accounts::Rights::bits),
                    columns::patterns_in(token.patterns.as_deref())?,
                    token.expires_at.map(columns::time_in),
                ],
            )?;
            Ok(Some(token))
        })
        .await
    }

    /// Revokes a token of this account, or with `None` of any. Returns it, or `None` if it does not exist.
    pub async fn revoke_token(
        &self,
        account: Option<i64>,
        id: i64,
    ) -> Result<Option<TokenRecord>, StoreError> {
        self.write(Durability::Disk, move |sql| {
            let token = sql.first(
                concat!(
                    token_columns!(),
                    " FROM tokens t WHERE t.id = ?1 AND (?2 IS NULL OR t.account = ?2)"
                ),
                params![id, account],
                record,
            )?;
            if token.is_some() {
                sql.run("DELETE FROM tokens WHERE id = ?1", params![id])?;
            }
            Ok(token)
        })
        .await
    }

    /// Returns a token with its account, even if it has expired or the account is disabled.
    pub async fn token(&self, id: i64) -> Result<Option<(TokenRecord, AccountRecord)>, StoreError> {
        self.read(move |sql| {
            let token =
                sql.first(concat!(token_columns!(), " FROM tokens t WHERE t.id = ?1"), params![id], record)?;
            with_account(sql, token)
        })
        .await
    }

    /// As [`Metadata::token`], by the SHA-256 of the token.
    pub async fn token_by_hash(
        &self,
        hash: &[u8; 32],
    ) -> Result<Option<(TokenRecord, AccountRecord)>, StoreError> {
        let hash = *hash;
        self.read(move |sql| {
            let token = sql.first(
                concat!(token_columns!(), " FROM tokens t WHERE t.hash = ?1"),
                params![&hash[..]],
                record,
            )?;
            with_account(sql, token)
        })
        .await
    }

    /// Records when tokens were last used. Skips unknown tokens.
    pub async fn touch_tokens(&self, used: Vec<(i64, SystemTime)>) -> Result<(), StoreError> {
        self.write_anywhere(Durability::Process, move |sql| {
            for (id, at) in &used {
                sql.run(
                    "UPDATE tokens SET last_used_at = ?2
                     WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)",
                    params![id, columns::time_in(*at)],
                )?;
            }
            Ok(())
        })
        .await
    }

    /// Deletes up to `limit` tokens that expired before `before`. Returns their number.
    pub async fn forget_ended_tokens(&self, before: SystemTime, limit: usize) -> Result<usize, StoreError> {
        self.write(Durability::Process, move |sql| {
            sql.run(
                "DELETE FROM tokens WHERE id IN (SELECT id FROM tokens WHERE expires_at < ?1 LIMIT ?2)",
                params![columns::time_in(before), columns::limit_in(limit)],
            )
        })
        .await
    }
}

/// Selects the columns of [`record`] from a token `t`.
macro_rules! token_columns {
    () => {
        "SELECT t.id, t.account, t.kind, t.label, t.rights, t.patterns, t.expires_at, t.last_used_at, t.created_at"
    };
}
use token_columns;

fn record(row: &Row<'_>) -> Result<TokenRecord, StoreError> {
    let rights: Option<u8> = row.get(4)?;
    Ok(TokenRecord {
        id: row.get(0)?,
        account: row.get(1)?,
        kind: columns::text(row, 2)?,
        label: row.get(3)?,
        rights: rights.map(accounts::Rights::from_bits),
        patterns: columns::patterns(row, 5)?,
        expires_at: columns::time_or_null(row, 6)?,
        last_used_at: columns::time_or_null(row, 7)?,
        created_at: columns::time(row, 8)?,
    })
}

fn with_account(
    sql: Sql<'_>,
    token: Option<TokenRecord>,
) -> Result<Option<(TokenRecord, AccountRecord)>, StoreError> {
    let Some(token) = token else { return Ok(None) };
    let account = sql.first(
        concat!(account_columns!(), " WHERE a.id = ?1"),
        params![token.account],
        account_rows::record,
    )?;
    Ok(account.map(|account| (token, account)))
}

/// Revokes the tokens of an account of this kind.
pub(super) fn revoke(sql: Sql<'_>, account: i64, kind: TokenKind) -> Result<(), StoreError> {
    sql.run("DELETE FROM tokens WHERE account = ?1 AND kind = ?2", params![account, kind.as_str()])?;
    Ok(())
}

/// Inserts a token. Returns `None` if its account does not exist.
pub(super) fn add(sql: Sql<'_>, token: &NewToken) -> Result<Option<TokenRecord>, StoreError> {
    if !sql.exists("SELECT 1 FROM accounts WHERE id = ?1", params![token.account])? {
        return Ok(None);
    }
    let id: Option<i64> = sql.first(
        "INSERT INTO tokens (account, kind, label, hash, rights, patterns, expires_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING id",
        params![
            token.account,
            token.kind.as_str(),
            token.label,
            &token.hash[..],
            token.rights.map(accounts::Rights::bits),
            columns::patterns_in(token.patterns.as_deref())?,
            token.expires_at.map(columns::time_in),
            columns::now(),
        ],
        |row| row.get(0),
    )?;
    sql.first(concat!(token_columns!(), " FROM tokens t WHERE t.id = ?1"), params![id], record)
}
