//! The limit on the objects of an owner, such as tokens. The transaction that adds one checks it.

use super::super::columns;
use super::super::sql::{Sql, Value};
use crate::StoreError;

/// The largest number of objects of one owner.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The objects, for the error.
    pub what: &'static str,
    /// The number.
    pub most: usize,
}

impl Limit {
    /// Checks that there is room for one more. `count` is a query of the present number.
    pub(in crate::metadata) fn check(
        self,
        sql: Sql<'_>,
        count: &str,
        params: &[Value<'_>],
    ) -> Result<(), StoreError> {
        let Self { what, most } = self;
        let present = sql.first(count, params, |row| columns::count(row, 0))?.unwrap_or_default();
        if present < most as u64 { Ok(()) } else { Err(StoreError::LimitReached { what, most }) }
    }
}

#[cfg(test)]
mod tests {
    use accounts::{Right, Rights, Subject};
    use futures_util::future::join_all;

    use super::*;
    use crate::metadata::accounts::fixtures::add_user;
    use crate::metadata::fixtures::empty;
    use crate::metadata::{NewToken, SetGrant, TokenKind};

    #[tokio::test]
    async fn concurrent_additions_stay_within_the_limit() {
        let (metadata, _directory) = empty();
        let ann = add_user(&metadata, "ann").await;
        let limit = Limit { what: "tokens", most: 3 };
        let token = |kind, hash: u8| NewToken {
            account: ann,
            kind,
            label: String::new(),
            hash: [hash; 32],
            rights: None,
            patterns: None,
            expires_at: None,
        };
        let added = (0..10).map(|hash| metadata.add_token(token(TokenKind::Personal, hash), Some(limit)));
        let added = join_all(added).await;
        assert_eq!(added.iter().filter(|added| added.is_ok()).count(), 3);
        for error in added.into_iter().filter_map(Result::err) {
            assert!(matches!(error, StoreError::LimitReached { what: "tokens", most: 3 }), "{error}");
        }

        let replaced = (10..20).map(|hash| metadata.add_token_for_oldest(token(TokenKind::Session, hash), 3));
        assert!(join_all(replaced).await.iter().all(|added| matches!(added, Ok(Some(_)))));
        let kept = metadata.tokens(ann, TokenKind::Session, None, 100).await.unwrap();
        assert_eq!(kept.len(), 3);
        assert_eq!(metadata.tokens(ann, TokenKind::Personal, None, 100).await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn grants_are_limited_by_namespace() {
        let (metadata, _directory) = empty();
        let limit = Some(Limit { what: "grants", most: 2 });
        let pull = Rights::of([Right::Pull]);
        let set = async |pattern: &str| {
            metadata.set_grant(&Subject::Everyone, &pattern.parse().unwrap(), pull, limit).await
        };
        assert_eq!(set("ann/**").await.unwrap(), SetGrant::Set);
        assert_eq!(set("ann/app").await.unwrap(), SetGrant::Set);
        assert_eq!(set("ann/app").await.unwrap(), SetGrant::Set, "a change needs no room");
        let error = set("ann/b*").await.unwrap_err();
        assert!(matches!(error, StoreError::LimitReached { what: "grants", most: 2 }), "{error}");
        assert_eq!(set("bob/app").await.unwrap(), SetGrant::Set);
        assert_eq!(set("**").await.unwrap(), SetGrant::Set);
    }
}
