//! Robots: accounts of programs, owned by a user or an organisation.

use super::super::Metadata;
use super::super::columns;
use super::super::sql::params;
use super::super::writer::Durability;
use super::account_rows::{self, account_columns};
use super::{AccountKind, AccountRecord, AddOutcome, Limit, NewToken, Source, TokenKind, tokens};
use crate::StoreError;
use accounts::AccountName;

impl Metadata {
    /// Creates a robot with the SHA-256 of its secret. Its name contains its owner.
    pub async fn add_robot(
        &self,
        name: &AccountName,
        secret: [u8; 32],
        description: String,
        limit: Option<Limit>,
    ) -> Result<AddOutcome, StoreError> {
        let name = name.clone();
        self.write(Durability::Disk, move |sql| {
            let Some((owner, _)) = name.robot() else { return Ok(AddOutcome::NameUnfit) };
            let owner = match account_rows::find(sql, &owner)? {
                Some(owner) if owner.kind != AccountKind::Robot => owner,
                _ => return Ok(AddOutcome::OwnerUnknown),
            };
            if let Some(limit) = limit {
                limit.check(sql, "SELECT COUNT(*) FROM accounts WHERE owner = ?1", params![owner.id])?;
            }
            let new = account_rows::New {
                name: &name,
                kind: AccountKind::Robot,
                owner: Some(owner.id),
                password: None,
                source: Source::Own,
                administrator: false,
                description: &description,
            };
            let added = account_rows::add(sql, &new)?;
            if let AddOutcome::Added(robot) = &added {
                tokens::add(sql, &secret_of(robot.id, secret))?;
            }
            Ok(added)
        })
        .await
    }

    /// Returns the robots of an owner, or all, by name after `after`.
    pub async fn robots(
        &self,
        owner: Option<&AccountName>,
        after: Option<&AccountName>,
        limit: usize,
    ) -> Result<Vec<AccountRecord>, StoreError> {
        let Some(owner) = owner.cloned() else {
            return self.accounts(AccountKind::Robot, after, limit).await;
        };
        let after = after.map(|name| name.as_str().to_owned()).unwrap_or_default();
        self.read(move |sql| {
            sql.all(
                concat!(
                    account_columns!(),
                    " WHERE a.owner = (SELECT id FROM accounts WHERE name = ?1) AND a.name > ?2
                     ORDER BY a.name LIMIT ?3"
                ),
                params![owner.as_str(), after, columns::limit_in(limit)],
                account_rows::record,
            )
        })
        .await
    }

    /// Replaces the secret of a robot. Returns `false` if it does not exist.
    pub async fn set_robot_secret(&self, name: &AccountName, secret: [u8; 32]) -> Result<bool, StoreError> {
        let name = name.clone();
        self.write(Durability::Disk, move |sql| {
            let Some(robot) = account_rows::id_of(sql, &name, AccountKind::Robot)? else { return Ok(false) };
            tokens::revoke(sql, robot, TokenKind::Robot)?;
            tokens::revoke(sql, robot, TokenKind::Refresh)?;
            tokens::add(sql, &secret_of(robot, secret))?;
            Ok(true)
        })
        .await
    }
}

fn secret_of(robot: i64, hash: [u8; 32]) -> NewToken {
    NewToken {
        account: robot,
        kind: TokenKind::Robot,
        label: String::new(),
        hash,
        rights: None,
        patterns: None,
        expires_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{add_user, name, rights};
    use super::super::{AccountChange, RemoveOutcome};
    use super::*;
    use crate::metadata::fixtures::empty;
    use accounts::Subject;

    #[tokio::test]
    async fn robot_has_its_grants_and_goes_with_its_owner() {
        let (metadata, _directory) = empty();
        add_user(&metadata, "ann").await;
        add_user(&metadata, "root").await;
        let add = async |robot: &str, secret| {
            metadata.add_robot(&name(robot), [secret; 32], String::new(), None).await.unwrap()
        };
        assert_eq!(add("ann", 1).await, AddOutcome::NameUnfit);
        assert_eq!(add("nobody+ci", 1).await, AddOutcome::OwnerUnknown);
        let AddOutcome::Added(robot) = add("ann+ci", 1).await else { panic!("it is made") };
        assert_eq!(robot.owner, Some(name("ann")));
        assert_eq!(add("ann+ci", 2).await, AddOutcome::NameTaken);
        assert!(rights(&metadata, robot.id, "ann/app").await.is_empty(), "nothing by itself");
        let subject: Subject = "ann+ci".parse().unwrap();
        let push = "push".parse().unwrap();
        metadata.set_grant(&subject, &"ann/app".parse().unwrap(), push, None).await.unwrap();
        assert_eq!(rights(&metadata, robot.id, "ann/app").await, push);

        let by = async |secret| metadata.token_by_hash(&[secret; 32]).await.unwrap();
        assert_eq!(by(1).await.unwrap().1.name, name("ann+ci"));
        assert!(metadata.set_robot_secret(&name("ann+ci"), [3; 32]).await.unwrap());
        assert!(!metadata.set_robot_secret(&name("ann"), [4; 32]).await.unwrap());
        assert!(by(1).await.is_none());
        assert!(by(3).await.is_some());

        let disabled = AccountChange { disabled: Some(true), ..AccountChange::default() };
        metadata.change_account(&name("ann"), disabled).await.unwrap();
        assert!(rights(&metadata, robot.id, "ann/app").await.is_empty(), "its owner may do nothing");
        let names = async |owner: Option<&str>| {
            let owner = owner.map(name);
            let found = metadata.robots(owner.as_ref(), None, 10).await.unwrap();
            found.iter().map(|robot| robot.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(None).await, ["ann+ci"]);
        assert_eq!(names(Some("ann")).await, ["ann+ci"]);
        assert!(names(Some("root")).await.is_empty());
        assert_eq!(metadata.remove_account(&name("ann"), false).await.unwrap(), RemoveOutcome::Removed);
        assert!(names(None).await.is_empty());
        assert!(by(3).await.is_none());
    }
}
