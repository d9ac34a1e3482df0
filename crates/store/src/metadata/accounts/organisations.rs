//! Organisations and their members.

use super::super::Metadata;
use super::super::columns;
use super::super::sql::{Sql, params};
use super::super::writer::Durability;
use super::account_rows::{self, account_columns};
use super::{AccountKind, AccountRecord, AddOutcome, MemberOutcome, MemberRecord, Source};
use crate::StoreError;
use accounts::{AccountName, Role};

impl Metadata {
    /// Creates an organisation with its first owner, who must be a user.
    pub async fn add_organisation(
        &self,
        name: &AccountName,
        owner: &AccountName,
        description: String,
    ) -> Result<AddOutcome, StoreError> {
        let (name, owner) = (name.clone(), owner.clone());
        self.write(Durability::Disk, move |sql| {
            if !name.has_namespace() {
                return Ok(AddOutcome::NameUnfit);
            }
            let Some(owner) = account_rows::id_of(sql, &owner, AccountKind::User)? else {
                return Ok(AddOutcome::OwnerUnknown);
            };
            let new = account_rows::New {
                name: &name,
                kind: AccountKind::Organisation,
                owner: None,
                password: None,
                source: Source::Own,
                administrator: false,
                description: &description,
            };
            let added = account_rows::add(sql, &new)?;
            if let AddOutcome::Added(organisation) = &added {
                put(sql, organisation.id, owner, Role::Owner)?;
            }
            Ok(added)
        })
        .await
    }

    /// Returns the organisations of a member, by name after `after`.
    pub async fn organisations_of(
        &self,
        account: i64,
        after: Option<&AccountName>,
        limit: usize,
    ) -> Result<Vec<AccountRecord>, StoreError> {
        let after = after.map(|name| name.as_str().to_owned()).unwrap_or_default();
        self.read(move |sql| {
            sql.all(
                concat!(
                    account_columns!(),
                    " JOIN members m ON m.organisation = a.id
                     WHERE m.account = ?1 AND a.name > ?2 ORDER BY a.name LIMIT ?3"
                ),
                params![account, after, columns::limit_in(limit)],
                account_rows::record,
            )
        })
        .await
    }

    /// Returns the role of an account in an organisation; `None` if it is no member.
    pub async fn role_of(
        &self,
        organisation: &AccountName,
        account: i64,
    ) -> Result<Option<Role>, StoreError> {
        let organisation = organisation.clone();
        self.read(move |sql| {
            sql.first(
                "SELECT m.role FROM accounts o JOIN members m ON m.organisation = o.id
                 WHERE o.name = ?1 AND m.account = ?2",
                params![organisation.as_str(), account],
                |row| columns::text(row, 0),
            )
        })
        .await
    }

    /// Returns the members of an organisation, by name after `after`.
    pub async fn members(
        &self,
        organisation: &AccountName,
        after: Option<&AccountName>,
        limit: usize,
    ) -> Result<Vec<MemberRecord>, StoreError> {
        let after = after.map(|name| name.as_str().to_owned()).unwrap_or_default();
        let organisation = organisation.clone();
        self.read(move |sql| {
            sql.all(
                "SELECT a.name, m.role FROM accounts o
                 JOIN members m ON m.organisation = o.id JOIN accounts a ON a.id = m.account
                 WHERE o.name = ?1 AND a.name > ?2 ORDER BY a.name LIMIT ?3",
                params![organisation.as_str(), after, columns::limit_in(limit)],
                |row| {
                    Ok(MemberRecord {
                        organisation: organisation.clone(),
                        account: columns::text(row, 0)?,
                        role: columns::text(row, 1)?,
                    })
                },
            )
        })
        .await
    }

    /// Returns the memberships of a user, by organisation.
    pub async fn memberships(&self, user: &AccountName) -> Result<Vec<MemberRecord>, StoreError> {
        let user = user.clone();
        self.read(move |sql| {
            sql.all(
                "SELECT o.name, m.role FROM accounts a
                 JOIN members m ON m.account = a.id JOIN accounts o ON o.id = m.organisation
                 WHERE a.name = ?1 ORDER BY o.name",
                params![user.as_str()],
                |row| {
                    Ok(MemberRecord {
                        organisation: columns::text(row, 0)?,
                        account: user.clone(),
                        role: columns::text(row, 1)?,
                    })
                },
            )
        })
        .await
    }

    /// Adds a member, or changes the role of one.
    pub async fn set_member(
        &self,
        organisation: &AccountName,
        user: &AccountName,
        role: Role,
    ) -> Result<MemberOutcome, StoreError> {
        let (organisation, user) = (organisation.clone(), user.clone());
        self.write(Durability::Disk, move |sql| {
            let (organisation, user) = match ids(sql, &organisation, &user)? {
                Ok(ids) => ids,
                Err(outcome) => return Ok(outcome),
            };
            if role != Role::Owner && is_last_owner(sql, organisation, user)? {
                return Ok(MemberOutcome::LastOwner);
            }
            put(sql, organisation, user, role)?;
            Ok(MemberOutcome::Changed)
        })
        .await
    }

    /// Removes a member from the organisation and its teams.
    pub async fn remove_member(
        &self,
        organisation: &AccountName,
        user: &AccountName,
    ) -> Result<MemberOutcome, StoreError> {
        let (organisation, user) = (organisation.clone(), user.clone());
        self.write(Durability::Disk, move |sql| {
            let (organisation, user) = match ids(sql, &organisation, &user)? {
                Ok(ids) => ids,
                Err(outcome) => return Ok(outcome),
            };
            if is_last_owner(sql, organisation, user)? {
                return Ok(MemberOutcome::LastOwner);
            }
            sql.run(
                "DELETE FROM team_members
                 WHERE account = ?2 AND team IN (SELECT id FROM teams WHERE organisation = ?1)",
                params![organisation, user],
            )?;
            let removed = sql.run(
                "DELETE FROM members WHERE organisation = ?1 AND account = ?2",
                params![organisation, user],
            )?;
            Ok(if removed > 0 { MemberOutcome::Changed } else { MemberOutcome::NotFound })
        })
        .await
    }
}

/// The ids of an organisation and of a user, or which of them is unknown.
fn ids(
    sql: Sql<'_>,
    organisation: &AccountName,
    user: &AccountName,
) -> Result<Result<(i64, i64), MemberOutcome>, StoreError> {
    let Some(organisation) = account_rows::id_of(sql, organisation, AccountKind::Organisation)? else {
        return Ok(Err(MemberOutcome::NotFound));
    };
    let user = account_rows::id_of(sql, user, AccountKind::User)?;
    Ok(user.map(|user| (organisation, user)).ok_or(MemberOutcome::AccountUnknown))
}

fn put(sql: Sql<'_>, organisation: i64, user: i64, role: Role) -> Result<(), StoreError> {
    sql.run(
        "INSERT INTO members (organisation, account, role) VALUES (?1, ?2, ?3)
         ON CONFLICT (organisation, account) DO UPDATE SET role = excluded.role",
        params![organisation, user, role.as_str()],
    )?;
    Ok(())
}

/// Whether a user is the only owner of an organisation.
fn is_last_owner(sql: Sql<'_>, organisation: i64, user: i64) -> Result<bool, StoreError> {
    let owners: Vec<i64> = sql.all(
        "SELECT account FROM members WHERE organisation = ?1 AND role = ?2 LIMIT 2",
        params![organisation, Role::Owner.as_str()],
        |row| row.get(0),
    )?;
    Ok(owners == [user])
}

#[cfg(test)]
mod tests {
    use super::super::RemoveOutcome;
    use super::super::fixtures::{add_user, name, rights};
    use super::*;
    use crate::metadata::fixtures::empty;

    #[tokio::test]
    async fn organisation_always_has_an_owner() {
        let (metadata, _directory) = empty();
        let (ann, bob) = (add_user(&metadata, "ann").await, add_user(&metadata, "bob").await);
        let add = async |organisation: &str, owner: &str| {
            metadata.add_organisation(&name(organisation), &name(owner), String::new()).await.unwrap()
        };
        assert_eq!(add("acme", "nobody").await, AddOutcome::OwnerUnknown);
        assert_eq!(add("a+b", "ann").await, AddOutcome::NameUnfit);
        assert_eq!(add("Acme", "ann").await, AddOutcome::NameUnfit);
        assert!(matches!(add("acme", "ann").await, AddOutcome::Added(_)));
        assert_eq!(add("acme", "ann").await, AddOutcome::NameTaken);
        assert_eq!(add("ann", "ann").await, AddOutcome::NameTaken);
        let acme = name("acme");
        assert_eq!(metadata.role_of(&acme, ann).await.unwrap(), Some(Role::Owner));
        assert_eq!(metadata.role_of(&acme, bob).await.unwrap(), None);

        let set = async |user: &str, role| metadata.set_member(&acme, &name(user), role).await.unwrap();
        assert_eq!(set("ann", Role::Reader).await, MemberOutcome::LastOwner);
        assert_eq!(set("acme", Role::Reader).await, MemberOutcome::AccountUnknown);
        assert_eq!(set("bob", Role::Writer).await, MemberOutcome::Changed);
        assert_eq!(
            metadata.set_member(&name("bob"), &name("ann"), Role::Owner).await.unwrap(),
            MemberOutcome::NotFound
        );
        assert_eq!(rights(&metadata, bob, "acme/app").await, Role::Writer.rights());
        let members = metadata.members(&acme, None, 10).await.unwrap();
        let told: Vec<_> = members.iter().map(|member| (member.account.as_str(), member.role)).collect();
        assert_eq!(told, [("ann", Role::Owner), ("bob", Role::Writer)]);
        assert_eq!(metadata.members(&acme, Some(&name("ann")), 10).await.unwrap().len(), 1);
        assert_eq!(metadata.members(&name("nowhere"), None, 10).await.unwrap(), []);

        let remove = async |user: &str| metadata.remove_member(&acme, &name(user)).await.unwrap();
        assert_eq!(remove("ann").await, MemberOutcome::LastOwner);
        assert_eq!(
            metadata.remove_account(&name("ann"), true).await.unwrap(),
            RemoveOutcome::LastOwner(vec![acme.clone()])
        );
        assert_eq!(set("bob", Role::Owner).await, MemberOutcome::Changed);
        assert_eq!(remove("ann").await, MemberOutcome::Changed);
        assert_eq!(remove("ann").await, MemberOutcome::NotFound);
        assert!(rights(&metadata, ann, "acme/app").await.is_empty());
    }

    #[tokio::test]
    async fn member_finds_their_organisations() {
        let (metadata, _directory) = empty();
        let (ann, bob) = (add_user(&metadata, "ann").await, add_user(&metadata, "bob").await);
        for organisation in ["zulu", "acme", "mike"] {
            metadata.add_organisation(&name(organisation), &name("ann"), String::new()).await.unwrap();
        }
        metadata.set_member(&name("mike"), &name("bob"), Role::Reader).await.unwrap();
        let of = async |account, after: Option<&str>| {
            let after = after.map(name);
            let found = metadata.organisations_of(account, after.as_ref(), 2).await.unwrap();
            found.iter().map(|organisation| organisation.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(of(ann, None).await, ["acme", "mike"]);
        assert_eq!(of(ann, Some("mike")).await, ["zulu"]);
        assert_eq!(of(bob, None).await, ["mike"]);
        assert_eq!(metadata.remove_account(&name("mike"), false).await.unwrap(), RemoveOutcome::Removed);
        assert!(of(bob, None).await.is_empty());
    }
}
