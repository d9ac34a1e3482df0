//! Pages: what all lists of `/api/v1/` have in common, so that a command can read a list however many pages it has.

use serde::de::DeserializeOwned;

use crate::http::api::types::accounts::{
    Grant, Grants, Member, Members, Organisation, Organisations, Robot, Robots, Team, TeamMembers, Teams,
    Token, Tokens, User, Users,
};
use crate::http::api::types::{Repositories, Repository, RepositoryUsage, RepositoryUsages, TagEntry, Tags};

/// A page of a list.
pub(super) trait Page: DeserializeOwned {
    /// What the list has.
    type Entry;

    /// The entries, and whether there are more after them.
    fn split(self) -> (Vec<Self::Entry>, bool);

    /// What names an entry, for the page after it to begin there.
    fn key(entry: &Self::Entry) -> String;
}

macro_rules! pages {
    ($($page:ident { $entries:ident: $entry:ty } by $key:expr;)+) => {
        $(
            impl Page for $page {
                type Entry = $entry;

                fn split(self) -> (Vec<$entry>, bool) {
                    (self.$entries, self.more)
                }

                fn key(entry: &$entry) -> String {
                    let key: fn(&$entry) -> String = $key;
                    key(entry)
                }
            }
        )+
    };
}

pages! {
    Repositories { repositories: Repository } by |entry| entry.name.to_string();
    RepositoryUsages { repositories: RepositoryUsage } by |entry| entry.name.to_string();
    Tags { tags: TagEntry } by |entry| entry.tag.to_string();
    Users { users: User } by |entry| entry.name.to_string();
    Organisations { organisations: Organisation } by |entry| entry.name.to_string();
    Members { members: Member } by |entry| entry.user.to_string();
    Teams { teams: Team } by |entry| entry.name.to_string();
    TeamMembers { members: accounts::AccountName } by ToString::to_string;
    Robots { robots: Robot } by |entry| entry.name.to_string();
    Tokens { tokens: Token } by |entry| entry.id.to_string();
    Grants { grants: Grant } by |entry| entry.id.to_string();
}
