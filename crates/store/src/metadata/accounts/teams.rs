//! Teams: groups of members of an organisation, as subjects of grants.

use super::super::Metadata;
use super::super::columns;
use super::super::sql::params;
use super::super::writer::Durability;
use super::grants::{self, SubjectKey};
use super::{AccountKind, MemberOutcome, TeamOutcome, TeamRecord, account_rows};
use crate::StoreError;
use accounts::{AccountName, TeamName};

impl Metadata {
    /// Creates an empty team.
    pub async fn add_team(
        &self,
        organisation: &AccountName,
        team: &TeamName,
    ) -> Result<TeamOutcome, StoreError> {
        let (organisation, team) = (organisation.clone(), team.clone());
        self.write(Durability::Disk, move |sql| {
            let Some(organisation) = account_rows::id_of(sql, &organisation, AccountKind::Organisation)?
            else {
                return Ok(TeamOutcome::NotFound);
            };
            let made = sql.run(
                "INSERT INTO teams (organisation, name, created_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (organisation, name) DO NOTHING",
                params![organisation, team.as_str(), columns::now()],
            )?;
            Ok(if made > 0 { TeamOutcome::Added } else { TeamOutcome::NameTaken })
        })
        .await
    }

    /// Deletes a team with its grants. Returns `false` if it does not exist.
    pub async fn remove_team(&self, organisation: &AccountName, team: &TeamName) -> Result<bool, StoreError> {
        let (organisation, team) = (organisation.clone(), team.clone());
        self.write(Durability::Disk, move |sql| {
            let Some(team) = grants::team_id(sql, &organisation, &team)? else { return Ok(false) };
            grants::delete(sql, SubjectKey::team(team))?;
            sql.run("DELETE FROM teams WHERE id = ?1", params![team])?;
            Ok(true)
        })
        .await
    }

    /// Returns the teams of an organisation, by name after `after`.
    pub async fn teams(
        &self,
        organisation: &AccountName,
        after: Option<&TeamName>,
        limit: usize,
    ) -> Result<Vec<TeamRecord>, StoreError> {
        let after = after.map(|name| name.as_str().to_owned()).unwrap_or_default();
        let organisation = organisation.clone();
        self.read(move |sql| {
            sql.all(
                "SELECT t.name, (SELECT count(*) FROM team_members m WHERE m.team = t.id), t.created_at
                 FROM accounts o JOIN teams t ON t.organisation = o.id
                 WHERE o.name = ?1 AND t.name > ?2 ORDER BY t.name LIMIT ?3",
                params![organisation.as_str(), after, columns::limit_in(limit)],
                |row| {
                    Ok(TeamRecord {
                        organisation: organisation.clone(),
                        name: columns::text(row, 0)?,
                        members: row.get::<i64>(1)?.unsigned_abs(),
                        created_at: columns::time(row, 2)?,
                    })
                },
            )
        })
        .await
    }

    /// Returns the members of a team, by name after `after`; `None` if the team does not exist.
    pub async fn team_members(
        &self,
        organisation: &AccountName,
        team: &TeamName,
        after: Option<&AccountName>,
        limit: usize,
    ) -> Result<Option<Vec<AccountName>>, StoreError> {
        let after = after.map(|name| name.as_str().to_owned()).unwrap_or_default();
        let (organisation, team) = (organisation.clone(), team.clone());
        self.read(move |sql| {
            let Some(team) = grants::team_id(sql, &organisation, &team)? else { return Ok(None) };
            let members = sql.all(
                "SELECT a.name FROM team_members m JOIN accounts a ON a.id = m.account
                 WHERE m.team = ?1 AND a.name > ?2 ORDER BY a.name LIMIT ?3",
                params![team, after, columns::limit_in(limit)],
                |row| columns::text(row, 0),
            )?;
            Ok(Some(members))
        })
        .await
    }

    /// Adds a member of the organisation to a team. Idempotent.
    pub async fn add_team_member(
        &self,
        organisation: &AccountName,
        team: &TeamName,
        user: &AccountName,
    ) -> Result<MemberOutcome, StoreError> {
        let (organisation, team, user) = (organisation.clone(), team.clone(), user.clone());
        self.write(Durability::Disk, move |sql| {
            let Some(team) = grants::team_id(sql, &organisation, &team)? else {
                return Ok(MemberOutcome::NotFound);
            };
            let member: Option<i64> = sql.first(
                "SELECT m.account FROM teams t JOIN members m ON m.organisation = t.organisation
                 JOIN accounts a ON a.id = m.account WHERE t.id = ?1 AND a.name = ?2",
                params![team, user.as_str()],
                |row| row.get(0),
            )?;
            let Some(member) = member else { return Ok(MemberOutcome::AccountUnknown) };
            sql.run(
                "INSERT INTO team_members (team, account) VALUES (?1, ?2) ON CONFLICT (team, account) DO NOTHING",
                params![team, member],
            )?;
            Ok(MemberOutcome::Changed)
        })
        .await
    }

    /// Removes a user from a team.
    pub async fn remove_team_member(
        &self,
        organisation: &AccountName,
        team: &TeamName,
        user: &AccountName,
    ) -> Result<MemberOutcome, StoreError> {
        let (organisation, team, user) = (organisation.clone(), team.clone(), user.clone());
        self.write(Durability::Disk, move |sql| {
            let Some(team) = grants::team_id(sql, &organisation, &team)? else {
                return Ok(MemberOutcome::NotFound);
            };
            let Some(user) = account_rows::id_of(sql, &user, AccountKind::User)? else {
                return Ok(MemberOutcome::AccountUnknown);
            };
            let removed =
                sql.run("DELETE FROM team_members WHERE team = ?1 AND account = ?2", params![team, user])?;
            Ok(if removed > 0 { MemberOutcome::Changed } else { MemberOutcome::NotFound })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::SetGrant;
    use super::super::fixtures::{add_user, name, rights};
    use super::*;
    use crate::metadata::fixtures::empty;
    use accounts::{Rights, Role, Subject};

    #[tokio::test]
    async fn team_has_its_grants_until_its_deletion() {
        let (metadata, _directory) = empty();
        add_user(&metadata, "ann").await;
        let bob = add_user(&metadata, "bob").await;
        let (acme, devs): (AccountName, TeamName) = (name("acme"), "devs".parse().unwrap());
        assert_eq!(metadata.add_team(&acme, &devs).await.unwrap(), TeamOutcome::NotFound);
        metadata.add_organisation(&acme, &name("ann"), String::new()).await.unwrap();
        assert_eq!(metadata.add_team(&acme, &devs).await.unwrap(), TeamOutcome::Added);
        assert_eq!(metadata.add_team(&acme, &devs).await.unwrap(), TeamOutcome::NameTaken);

        let join = async |user: &str| metadata.add_team_member(&acme, &devs, &name(user)).await.unwrap();
        assert_eq!(join("bob").await, MemberOutcome::AccountUnknown, "not of the organisation");
        metadata.set_member(&acme, &name("bob"), Role::Reader).await.unwrap();
        assert_eq!(join("bob").await, MemberOutcome::Changed);
        assert_eq!(join("bob").await, MemberOutcome::Changed);
        let subject: Subject = "acme/devs".parse().unwrap();
        let push: Rights = "push".parse().unwrap();
        let grant = metadata.set_grant(&subject, &"tools/**".parse().unwrap(), push, None).await;
        assert_eq!(grant.unwrap(), SetGrant::Set);
        assert_eq!(rights(&metadata, bob, "tools/x").await, push);
        let teams = metadata.teams(&acme, None, 10).await.unwrap();
        assert_eq!((teams.len(), teams[0].members), (1, 1));
        assert_eq!(metadata.team_members(&acme, &devs, None, 10).await.unwrap(), Some(vec![name("bob")]));

        // Leaving the organisation ends the membership in its teams.
        metadata.remove_member(&acme, &name("bob")).await.unwrap();
        assert!(rights(&metadata, bob, "tools/x").await.is_empty());
        metadata.set_member(&acme, &name("bob"), Role::Reader).await.unwrap();
        assert!(rights(&metadata, bob, "tools/x").await.is_empty());

        assert_eq!(join("bob").await, MemberOutcome::Changed);
        assert!(metadata.remove_team(&acme, &devs).await.unwrap());
        assert!(!metadata.remove_team(&acme, &devs).await.unwrap());
        assert!(rights(&metadata, bob, "tools/x").await.is_empty());
        assert_eq!(metadata.team_members(&acme, &devs, None, 10).await.unwrap(), None);
        // A new team of the same name has none of the old grants.
        metadata.add_team(&acme, &devs).await.unwrap();
        assert_eq!(join("bob").await, MemberOutcome::Changed);
        assert!(rights(&metadata, bob, "tools/x").await.is_empty());
        let leave = metadata.remove_team_member(&acme, &devs, &name("bob")).await.unwrap();
        assert_eq!(leave, MemberOutcome::Changed);
    }
}
