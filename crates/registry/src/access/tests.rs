//! Accounts as a whole: who is let in, for what, and until when.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::SystemTime;

use accounts::{Pattern, Right, Rights, Subject, Visible};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::RepositoryName;
use store::metadata::{
    AccountChange, AuditFilter, ChangeOutcome, NewToken, RemoveOutcome, SetGrant, TokenKind,
};
use tempfile::TempDir;

use super::*;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const PASSWORD: &str = "correct horse battery";

struct Fixture {
    accounts: Accounts,
    directory: TempDir,
}

impl std::ops::Deref for Fixture {
    type Target = Accounts;

    fn deref(&self) -> &Accounts {
        &self.accounts
    }
}

fn name(name: &str) -> AccountName {
    name.parse().unwrap()
}

fn repository(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

fn rights(text: &str) -> Rights {
    text.parse().unwrap()
}

fn basic(name: &str, password: &str) -> Vec<u8> {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))).into_bytes()
}

fn bearer(token: &str) -> Vec<u8> {
    format!("Bearer {token}").into_bytes()
}

async fn open(directory: TempDir, settings: AccountSettings) -> Fixture {
    let metadata = Metadata::open(&directory.path().join("metadata.db")).unwrap();
    Fixture { accounts: Accounts::open(metadata, settings).await.unwrap(), directory }
}

/// With the administrator `root` and the users `ann` and `bob`.
async fn fixture() -> Fixture {
    let fixture = open(tempfile::tempdir().unwrap(), AccountSettings::default()).await;
    assert!(fixture.ensure_administrator(&name("root"), PASSWORD).await.unwrap());
    fixture.add_user("ann").await;
    fixture.add_user("bob").await;
    fixture
}

impl Fixture {
    async fn add_user(&self, user: &str) {
        let password = self.hash_password(Password::new(PASSWORD, user).unwrap()).await.unwrap();
        let user = NewUser {
            name: name(user),
            password: Some(password),
            administrator: false,
            description: String::new(),
            source: Source::Own,
            only_unused_namespace: false,
        };
        let metadata = self.inner.metadata.clone();
        let added = self.change(async move { Ok(metadata.add_user(user).await?) }).await.unwrap();
        assert!(matches!(added, AddOutcome::Added(_)), "{added:?}");
    }

    async fn change_account(&self, account: &str, change: AccountChange) {
        let (metadata, account) = (self.inner.metadata.clone(), name(account));
        let changed =
            self.change(async move { Ok(metadata.change_account(&account, change).await?) }).await.unwrap();
        assert!(matches!(changed, ChangeOutcome::Changed(_)), "{changed:?}");
    }

    async fn disable(&self, account: &str, disabled: bool) {
        self.change_account(account, AccountChange { disabled: Some(disabled), ..AccountChange::default() })
            .await;
    }

    async fn set_password(&self, account: &str, password: &str) {
        let password = self.hash_password(Password::new(password, account).unwrap()).await.unwrap();
        self.change_account(account, AccountChange { password: Some(password), ..AccountChange::default() })
            .await;
    }

    async fn grant(&self, subject: &str, pattern: &str, granted: &str) {
        let (subject, pattern): (Subject, Pattern) = (subject.parse().unwrap(), pattern.parse().unwrap());
        let (metadata, granted) = (self.inner.metadata.clone(), rights(granted));
        let set =
            self.change(async move { Ok(metadata.set_grant(&subject, &pattern, granted).await?) }).await;
        assert_eq!(set.unwrap(), SetGrant::Set);
    }

    async fn take_grant(&self, subject: &str, pattern: &str) {
        let (subject, pattern): (Subject, Pattern) = (subject.parse().unwrap(), pattern.parse().unwrap());
        let metadata = self.inner.metadata.clone();
        let removed = self.change(async move { Ok(metadata.remove_grant(&subject, &pattern).await?) }).await;
        assert!(removed.unwrap());
    }

    /// A personal token of an account, and its number.
    async fn token(
        &self,
        account: &str,
        narrowed: Option<(&str, &[&str])>,
        expires_at: Option<SystemTime>,
    ) -> (String, i64) {
        let account = self.inner.metadata.account(&name(account)).await.unwrap().unwrap();
        let secret = Secret::new(SecretKind::Personal).unwrap();
        let token = NewToken {
            account: account.id,
            kind: TokenKind::Personal,
            label: "test".to_owned(),
            hash: secret.hash(),
            rights: narrowed.map(|(narrowed, _)| rights(narrowed)),
            patterns: narrowed
                .map(|(_, patterns)| patterns.iter().map(|text| text.parse().unwrap()).collect()),
            expires_at,
        };
        let metadata = self.inner.metadata.clone();
        let added = self.change(async move { Ok(metadata.add_token(token).await?) }).await.unwrap().unwrap();
        (secret.reveal().to_owned(), added.id)
    }

    async fn revoke(&self, id: i64) {
        let metadata = self.inner.metadata.clone();
        assert!(
            self.change(async move { Ok(metadata.revoke_token(None, id).await?) }).await.unwrap().is_some()
        );
    }

    async fn signed_in(&self, header: &[u8]) -> Identity {
        self.sign_in(header, HOME).await.unwrap()
    }

    async fn refused(&self, header: &[u8]) -> SignInError {
        match self.sign_in(header, HOME).await {
            Ok(identity) => panic!("{identity:?} was let in"),
            Err(error) => error,
        }
    }

    async fn assert_wrong(&self, header: &[u8]) {
        let error = self.refused(header).await;
        assert!(matches!(error, SignInError::Wrong { .. }), "{error:?}");
    }

    async fn assert_expired(&self, header: &[u8]) {
        let error = self.refused(header).await;
        assert!(matches!(error, SignInError::Expired { .. }), "{error:?}");
    }

    /// A bearer token for these scopes.
    async fn issued(&self, identity: &Identity, scopes: &str) -> Vec<u8> {
        bearer(&self.issue(identity, &ScopeRequest::parse_all([scopes]), false).await.unwrap().token)
    }

    fn hashes(&self) -> u64 {
        self.inner.hashing.done()
    }
}

#[tokio::test]
async fn without_accounts_credentials_are_ignored() {
    let fixture = open(tempfile::tempdir().unwrap(), AccountSettings::default()).await;
    assert!(!fixture.in_force());
    let app = repository("team/app");
    assert_eq!(fixture.decided(&Identity::Anonymous, &app, Right::Administer), Some(true));
    assert!(matches!(fixture.visible(&Identity::Anonymous).await.unwrap(), Visible::Everything));
    for header in [basic("ann", PASSWORD), bearer("made.up.token"), b"nonsense".to_vec()] {
        assert!(fixture.signed_in(&header).await.is_anonymous());
    }
    assert!(fixture.refresh("nonsense", HOME).await.unwrap().is_anonymous());
    assert!(fixture.issue(&Identity::Anonymous, &[], false).await.is_ok());

    assert!(fixture.ensure_administrator(&name("root"), PASSWORD).await.unwrap());
    assert!(fixture.in_force());
    assert_eq!(fixture.decided(&Identity::Anonymous, &app, Right::Pull), None);
    assert!(!fixture.may(&Identity::Anonymous, &app, Right::Pull).await.unwrap());
    // A later start changes nothing, whatever password it brings.
    assert!(!fixture.ensure_administrator(&name("root"), "another password").await.unwrap());
    let root = fixture.signed_in(&basic("root", PASSWORD)).await;
    assert!(root.account().unwrap().administrator);
    assert!(fixture.may(&root, &app, Right::Administer).await.unwrap());
    let refused = fixture.ensure_administrator(&name("boss"), "short").await.unwrap_err();
    assert!(matches!(refused, Error::PasswordRefused(PasswordRefused::TooShort)));
}

#[tokio::test]
async fn whatever_is_wrong_is_answered_alike_and_costs_one_hash() {
    let fixture = fixture().await;
    fixture.disable("bob", true).await;
    for (what, header) in [
        ("a wrong password", basic("ann", "wrong")),
        ("no password", basic("ann", "")),
        ("nobody's name", basic("nobody", PASSWORD)),
        ("what can be no name", basic("no/body", PASSWORD)),
        ("a disabled account", basic("bob", PASSWORD)),
        ("a disabled account's wrong password", basic("bob", "wrong")),
    ] {
        let before = fixture.hashes();
        let error = fixture.refused(&header).await;
        assert_eq!(error.to_string(), "wrong name, password or token", "{what}");
        assert_eq!(fixture.hashes() - before, 1, "{what}");
    }
    for header in [&b"Basic ***"[..], b"Digest x", b"", b"Bearer", b"Bearer abc", b"Bearer a.b.c"] {
        fixture.assert_wrong(header).await;
    }
}

#[tokio::test]
async fn a_right_password_is_hashed_once_and_remembered() {
    let fixture = fixture().await;
    let header = basic("ann", PASSWORD);
    assert!(fixture.credential_cache(&header, HOME).is_none());
    let before = fixture.hashes();
    assert_eq!(fixture.signed_in(&header).await.name(), Some(&name("ann")));
    for _ in 0..10 {
        fixture.signed_in(&header).await;
        assert_eq!(fixture.credential_cache(&header, HOME).unwrap().name(), Some(&name("ann")));
    }
    assert_eq!(fixture.hashes() - before, 1);
    assert!(fixture.credential_cache(&basic("ann", "correct horse batterz"), HOME).is_none());
}

#[tokio::test]
async fn many_connections_with_one_password_hash_it_once() {
    let fixture = fixture().await;
    let header = basic("ann", PASSWORD);
    let before = fixture.hashes();
    let all = futures_util::future::join_all((0..20).map(|_| fixture.sign_in(&header, HOME))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(fixture.hashes() - before, 1);
}

#[tokio::test]
async fn a_change_is_looked_up_at_once_and_hashes_nothing_unless_it_was_the_password() {
    let fixture = fixture().await;
    let header = basic("ann", PASSWORD);
    fixture.signed_in(&header).await;
    let before = fixture.hashes();
    fixture.grant("bob", "team/**", "pull").await;
    assert!(fixture.credential_cache(&header, HOME).is_none(), "something has changed");
    fixture.signed_in(&header).await;
    assert!(fixture.credential_cache(&header, HOME).is_some());
    assert_eq!(fixture.hashes(), before);

    fixture.set_password("ann", "another password").await;
    let before = fixture.hashes();
    assert!(fixture.credential_cache(&header, HOME).is_none());
    fixture.assert_wrong(&header).await;
    fixture.signed_in(&basic("ann", "another password")).await;
    assert_eq!(fixture.hashes() - before, 2);
}

#[tokio::test]
async fn a_disabled_or_removed_account_is_out_at_once() {
    let fixture = fixture().await;
    let header = basic("ann", PASSWORD);
    let (token, _) = fixture.token("ann", None, None).await;
    let identity = fixture.signed_in(&header).await;
    let by_bearer = fixture.issued(&identity, "repository:ann/app:pull").await;
    fixture.signed_in(&bearer(&token)).await;
    fixture.signed_in(&by_bearer).await;

    fixture.disable("ann", true).await;
    for header in [&header, &bearer(&token), &by_bearer] {
        assert!(fixture.credential_cache(header, HOME).is_none());
        fixture.refused(header).await;
    }
    assert!(!fixture.may(&identity, &repository("ann/app"), Right::Pull).await.unwrap(), "in mid-request");
    fixture.disable("ann", false).await;
    for header in [&header, &bearer(&token), &by_bearer] {
        fixture.signed_in(header).await;
    }

    let metadata = fixture.inner.metadata.clone();
    let removed = fixture.change(async move { Ok(metadata.remove_account(&name("ann"), true).await?) }).await;
    assert_eq!(removed.unwrap(), RemoveOutcome::Removed);
    fixture.add_user("ann").await;
    fixture.assert_wrong(&bearer(&token)).await;
    // The same name with the same password is somebody else.
    fixture.assert_expired(&by_bearer).await;
    assert_ne!(fixture.signed_in(&header).await.account().unwrap().id, identity.account().unwrap().id);
}

#[tokio::test]
async fn a_personal_token_signs_in_with_its_name_or_alone() {
    let fixture = fixture().await;
    let (token, id) = fixture.token("ann", None, None).await;
    let before = fixture.hashes();
    for header in [basic("ann", &token), bearer(&token)] {
        let identity = fixture.signed_in(&header).await;
        let account = identity.account().unwrap();
        assert_eq!(
            (account.name.as_str(), account.via, account.scope.is_none()),
            ("ann", Via::PersonalToken, true)
        );
    }
    fixture.assert_wrong(&basic("bob", &token)).await;
    fixture.assert_wrong(&basic("ann", &token.replacen("wfp_", "wfr_", 1))).await;
    let unknown = Secret::new(SecretKind::Personal).unwrap();
    fixture.assert_wrong(&bearer(unknown.reveal())).await;
    fixture.assert_wrong(&basic("ann", unknown.reveal())).await;

    fixture.revoke(id).await;
    for header in [basic("ann", &token), bearer(&token)] {
        assert!(fixture.credential_cache(&header, HOME).is_none());
        fixture.assert_wrong(&header).await;
    }
    let (ended, _) = fixture.token("ann", None, Some(SystemTime::now() - Duration::from_secs(1))).await;
    fixture.assert_expired(&bearer(&ended)).await;
    assert_eq!(fixture.hashes(), before, "tokens cost no hash");
}

#[tokio::test]
async fn a_narrow_token_allows_what_it_names_of_what_its_account_may() {
    let fixture = fixture().await;
    fixture.grant("ann", "team/**", "push").await;
    let (token, _) = fixture.token("ann", Some(("pull", &["team/app", "bob/**", "ann/web"])), None).await;
    let identity = fixture.signed_in(&bearer(&token)).await;
    for (on, right, expected) in [
        ("team/app", Right::Pull, Verdict::Allowed),
        ("ann/web", Right::Pull, Verdict::Allowed),
        ("ann/web", Right::Push, Verdict::Denied),
        ("team/app", Right::Push, Verdict::Denied),
        ("team/other", Right::Pull, Verdict::Hidden),
        ("ann/other", Right::Pull, Verdict::Hidden),
        ("bob/app", Right::Pull, Verdict::Hidden),
    ] {
        let verdict = fixture.verdict(&identity, &repository(on), right).await.unwrap();
        assert_eq!(verdict, expected, "{right:?} on {on}");
        let allowed = expected == Verdict::Allowed;
        assert_eq!(fixture.decided(&identity, &repository(on), right), Some(allowed), "{right:?} on {on}");
    }
    // Neither lists nor what is got with it go further.
    let by_bearer = fixture.issued(&identity, "registry:catalog:* repository:ann/web:pull,push").await;
    let by_bearer = fixture.signed_in(&by_bearer).await;
    assert!(!fixture.may(&by_bearer, &repository("ann/web"), Right::Push).await.unwrap());
    for identity in [&identity, &by_bearer] {
        let listed = fixture.listed(identity).await.unwrap().unwrap();
        for (on, expected) in
            [("team/app", true), ("ann/web", true), ("ann/other", false), ("bob/app", false)]
        {
            assert_eq!(listed.allows(&repository(on)), expected, "{on}");
        }
    }
}

#[tokio::test]
async fn a_bearer_for_one_scope_buys_nothing_else() {
    let fixture = fixture().await;
    fixture.grant("ann", "team/app", "pull").await;
    let ann = fixture.signed_in(&basic("ann", PASSWORD)).await;
    let header = fixture
        .issued(&ann, "repository:ann/app:pull repository:team/app:pull,push repository:bob/app:pull")
        .await;
    let identity = fixture.signed_in(&header).await;
    assert!(identity.is_bearer());
    for (on, right, expected) in [
        ("ann/app", Right::Pull, Verdict::Allowed),
        ("team/app", Right::Pull, Verdict::Allowed),
        // Another token would do.
        ("ann/app", Right::Push, Verdict::OutOfScope),
        ("ann/other", Right::Pull, Verdict::OutOfScope),
        // None would.
        ("team/app", Right::Push, Verdict::Denied),
        ("bob/app", Right::Pull, Verdict::Hidden),
    ] {
        let verdict = fixture.verdict(&identity, &repository(on), right).await.unwrap();
        assert_eq!(verdict, expected, "{right:?} on {on}");
    }
    assert!(fixture.listed(&identity).await.unwrap().is_none(), "it is not for lists");
    let visible = fixture.visible(&identity).await.unwrap();
    assert!(visible.allows(&repository("ann/app")) && visible.allows(&repository("team/app")));
    assert!(!visible.allows(&repository("ann/other")) && !visible.allows(&repository("bob/app")));
    // Nor for another token, which would hold longer.
    let issued = fixture.issue(&identity, &[], true).await;
    assert!(matches!(issued, Err(SignInError::Wrong { .. })));

    let header = fixture.issued(&ann, "registry:catalog:*").await;
    let identity = fixture.signed_in(&header).await;
    let listed = fixture.listed(&identity).await.unwrap().unwrap();
    assert!(listed.allows(&repository("ann/other")) && !listed.allows(&repository("bob/app")));
    assert!(!fixture.visible(&identity).await.unwrap().allows(&repository("ann/other")), "it pulls nothing");
}

#[tokio::test]
async fn a_bearer_is_a_restriction_of_what_its_account_may_now() {
    let fixture = fixture().await;
    fixture.grant("ann", "team/app", "push").await;
    let ann = fixture.signed_in(&basic("ann", PASSWORD)).await;
    let header = fixture.issued(&ann, "repository:team/app:pull,push").await;
    let identity = fixture.signed_in(&header).await;
    let app = repository("team/app");
    assert!(fixture.may(&identity, &app, Right::Push).await.unwrap());
    fixture.take_grant("ann", "team/app").await;
    assert_eq!(fixture.decided(&identity, &app, Right::Push), None, "not remembered");
    assert_eq!(fixture.verdict(&identity, &app, Right::Push).await.unwrap(), Verdict::Hidden);
    assert_eq!(fixture.decided(&identity, &app, Right::Push), Some(false));
}

#[tokio::test]
async fn a_bearer_ends_with_what_it_was_got_with() {
    let fixture = fixture().await;
    let ann = fixture.signed_in(&basic("ann", PASSWORD)).await;
    let by_password = fixture.issued(&ann, "repository:ann/app:pull").await;
    let (token, id) = fixture.token("ann", None, None).await;
    let by_token = fixture.issued(&fixture.signed_in(&bearer(&token)).await, "repository:ann/app:pull").await;
    fixture.signed_in(&by_password).await;
    fixture.signed_in(&by_token).await;

    fixture.revoke(id).await;
    assert!(fixture.credential_cache(&by_token, HOME).is_none());
    fixture.assert_expired(&by_token).await;
    fixture.signed_in(&by_password).await;

    fixture.set_password("ann", "another password").await;
    assert!(fixture.credential_cache(&by_password, HOME).is_none());
    fixture.assert_expired(&by_password).await;
    let issued = fixture.issue(&ann, &[], false).await;
    assert!(matches!(issued, Err(SignInError::Wrong { .. })), "the password has changed meanwhile");

    let end = SystemTime::now() + Duration::from_secs(20);
    let (token, _) = fixture.token("ann", None, Some(end)).await;
    let issued = fixture.issue(&fixture.signed_in(&bearer(&token)).await, &[], false).await.unwrap();
    assert!(issued.expires_in <= Duration::from_secs(20), "no longer than the token");
}

#[tokio::test]
async fn bearers_survive_a_restart_and_those_of_another_registry_are_refused() {
    let fixture = fixture().await;
    let ann = fixture.signed_in(&basic("ann", PASSWORD)).await;
    let header = fixture.issued(&ann, "repository:ann/app:pull").await;
    let other = open(tempfile::tempdir().unwrap(), AccountSettings::default()).await;
    other.ensure_administrator(&name("ann"), PASSWORD).await.unwrap();
    other.assert_wrong(&header).await;

    fixture.close().await;
    fixture.inner.metadata.close().await;
    let Fixture { directory, .. } = fixture;
    let settings = AccountSettings { service: "another".to_owned(), ..AccountSettings::default() };
    let renamed = open(directory, settings).await;
    renamed.assert_wrong(&header).await;
    renamed.close().await;
    renamed.inner.metadata.close().await;
    let again = open(renamed.directory, AccountSettings::default()).await;
    assert_eq!(again.signed_in(&header).await.name(), Some(&name("ann")));
    assert_eq!(again.jwks().keys.len(), 1);
}

#[tokio::test]
async fn a_bearer_without_an_account_is_nobody_in_particular() {
    let fixture = fixture().await;
    fixture.grant("everyone", "public/**", "pull").await;
    let header =
        fixture.issued(&Identity::Anonymous, "repository:public/app:pull,push repository:ann/x:pull").await;
    let identity = fixture.signed_in(&header).await;
    assert!(identity.is_anonymous());
    let public = repository("public/app");
    assert_eq!(fixture.verdict(&identity, &public, Right::Pull).await.unwrap(), Verdict::Allowed);
    assert_eq!(fixture.verdict(&identity, &public, Right::Push).await.unwrap(), Verdict::Denied);
    assert_eq!(fixture.verdict(&identity, &repository("ann/x"), Right::Pull).await.unwrap(), Verdict::Hidden);
    let listed = fixture.listed(&identity).await.unwrap().unwrap();
    assert!(listed.allows(&public) && !listed.allows(&repository("ann/x")));
}

#[tokio::test]
async fn refresh_tokens_are_good_for_bearers_and_nothing_else() {
    let fixture = fixture().await;
    let ann = fixture.signed_in(&basic("ann", PASSWORD)).await;
    let issued = fixture.issue(&ann, &[], true).await.unwrap();
    assert_eq!(format!("{issued:?}"), "Issued { expires_in: 300s, .. }");
    let refresh = issued.refresh_token.unwrap();
    assert!(refresh.starts_with("wfo_"));
    for header in [basic("ann", &refresh), bearer(&refresh)] {
        fixture.assert_wrong(&header).await;
    }
    let identity = fixture.refresh(&refresh, HOME).await.unwrap();
    let header = fixture.issued(&identity, "repository:ann/app:push").await;
    assert!(
        fixture.may(&fixture.signed_in(&header).await, &repository("ann/app"), Right::Push).await.unwrap()
    );
    assert!(fixture.issue(&identity, &[], true).await.unwrap().refresh_token.is_none(), "it goes on to hold");

    assert!(fixture.revoke_refresh(&refresh).await.unwrap());
    assert!(!fixture.revoke_refresh(&refresh).await.unwrap());
    assert!(matches!(fixture.refresh(&refresh, HOME).await, Err(SignInError::Wrong { .. })));
    fixture.assert_expired(&header).await;

    // They end with the password.
    let refresh = fixture.issue(&ann, &[], true).await.unwrap().refresh_token.unwrap();
    fixture.set_password("ann", "another password").await;
    assert!(fixture.refresh(&refresh, HOME).await.is_err());
    // A token that can be revoked by itself gets none.
    let (token, _) = fixture.token("ann", None, None).await;
    let by_token = fixture.signed_in(&bearer(&token)).await;
    assert!(fixture.issue(&by_token, &[], true).await.unwrap().refresh_token.is_none());
    assert!(matches!(fixture.refresh(&token, HOME).await, Err(SignInError::Wrong { .. })), "of another kind");
}

#[tokio::test]
async fn what_somebody_may_is_decided_without_waiting_until_something_changes() {
    let fixture = fixture().await;
    let ann = fixture.signed_in(&basic("ann", PASSWORD)).await;
    let (own, other) = (repository("ann/app"), repository("bob/app"));
    assert_eq!(fixture.decided(&ann, &own, Right::Push), None);
    assert!(fixture.may(&ann, &own, Right::Push).await.unwrap());
    assert_eq!(fixture.decided(&ann, &own, Right::Push), Some(true));
    assert!(!fixture.may(&ann, &other, Right::Pull).await.unwrap());
    assert_eq!(fixture.decided(&ann, &other, Right::Pull), Some(false));
    assert_eq!(fixture.decided(&Identity::Operator, &other, Right::Administer), Some(true));
    assert_eq!(fixture.decided(&Identity::Anonymous, &own, Right::Pull), None, "another's decision");

    let before = fixture.generation();
    fixture.grant("accounts", "bob/**", "pull").await;
    assert!(fixture.generation() > before);
    assert_eq!(fixture.decided(&ann, &other, Right::Pull), None);
    assert!(fixture.may(&ann, &other, Right::Pull).await.unwrap());
    assert!(!fixture.may(&Identity::Anonymous, &other, Right::Pull).await.unwrap());
    assert!(fixture.listed(&ann).await.unwrap().unwrap().allows(&other));
    fixture.take_grant("accounts", "bob/**").await;
    assert!(!fixture.listed(&ann).await.unwrap().unwrap().allows(&other));
}

#[tokio::test]
async fn guessing_locks_nobody_out_of_other_networks() {
    let limit = |burst| RateLimit { burst, every: Duration::from_secs(3600) };
    let throttle = ThrottleLimits { pair: limit(3), ..ThrottleLimits::default() };
    let settings = AccountSettings { throttle, remember: Duration::ZERO, ..AccountSettings::default() };
    let fixture = open(tempfile::tempdir().unwrap(), settings).await;
    fixture.ensure_administrator(&name("root"), PASSWORD).await.unwrap();
    fixture.add_user("ann").await;
    let header = basic("ann", PASSWORD);
    let remote_repositories = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9));
    for _ in 0..3 {
        let error = fixture.sign_in(&basic("ann", "wrong"), remote_repositories).await.unwrap_err();
        assert_eq!(error.reason(), Some("wrong password"));
    }
    let before = fixture.hashes();
    let error = fixture.sign_in(&header, remote_repositories).await.unwrap_err();
    assert!(
        matches!(&error, SignInError::TooMany { retry_after, .. } if *retry_after > Duration::from_secs(3000))
    );
    assert_eq!((error.name(), fixture.hashes()), (Some(&name("ann")), before), "not even looked at");
    fixture.signed_in(&header).await;
    // Tokens cannot be guessed, and go on.
    let (token, _) = fixture.token("ann", None, None).await;
    assert!(fixture.sign_in(&bearer(&token), remote_repositories).await.is_ok());
}

/// A password that is over the limit waits, and is then taken.
#[tokio::test]
async fn right_password_over_the_limit_is_delayed() {
    let every = Duration::from_millis(300);
    let throttle = ThrottleLimits { pair: RateLimit { burst: 1, every }, ..ThrottleLimits::default() };
    let settings = AccountSettings { throttle, remember: Duration::ZERO, ..AccountSettings::default() };
    let fixture = open(tempfile::tempdir().unwrap(), settings).await;
    fixture.ensure_administrator(&name("root"), PASSWORD).await.unwrap();
    let begun = std::time::Instant::now();
    for _ in 0..3 {
        fixture.assert_wrong(&basic("root", "wrong")).await;
    }
    fixture.signed_in(&basic("root", PASSWORD)).await;
    assert!(begun.elapsed() >= every, "{:?}", begun.elapsed());
}

/// A file of one user with the password `secret`, made by htpasswd (`-nbs`), and its path.
fn passwd(directory: &TempDir, user: &str) -> PathBuf {
    let path = directory.path().join("passwd");
    std::fs::write(&path, format!("{user}:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")).unwrap();
    path
}

#[tokio::test]
async fn users_of_the_htpasswd_file_are_accounts_like_any_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = passwd(&directory, "dan");
    let settings = AccountSettings { htpasswd: Some(path.clone()), ..AccountSettings::default() };
    let fixture = open(directory, settings).await;
    assert!(fixture.in_force(), "from the start");
    let header = basic("dan", "secret");
    let dan = fixture.signed_in(&header).await;
    assert!(fixture.may(&dan, &repository("dan/app"), Right::Delete).await.unwrap());
    assert!(!fixture.may(&dan, &repository("eve/app"), Right::Pull).await.unwrap());
    fixture.assert_wrong(&basic("dan", "Secret")).await;
    let before = fixture.hashes();
    fixture.assert_wrong(&basic("nobody", "secret")).await;
    assert_eq!(fixture.hashes() - before, 1);
    let by_bearer = fixture.issued(&dan, "repository:dan/app:pull").await;
    fixture.signed_in(&by_bearer).await;

    // The background looks every second; here it is done by hand, twice as there.
    let look = async || {
        for _ in 0..2 {
            fixture.look_at_htpasswd().await.unwrap();
        }
    };
    let lines = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("broken\n{lines}")).unwrap();
    look().await;
    fixture.signed_in(&header).await;

    passwd(&fixture.directory, "eve");
    look().await;
    assert!(fixture.credential_cache(&header, HOME).is_none());
    fixture.assert_wrong(&header).await;
    fixture.assert_expired(&by_bearer).await;
    fixture.signed_in(&basic("eve", "secret")).await;
    passwd(&fixture.directory, "dan");
    look().await;
    fixture.signed_in(&header).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_used_keeps_the_registry_from_opening() {
    let directory = tempfile::tempdir().unwrap();
    let metadata = Metadata::open(&directory.path().join("metadata.db")).unwrap();
    let settings =
        AccountSettings { htpasswd: Some(directory.path().join("none")), ..AccountSettings::default() };
    assert!(matches!(Accounts::open(metadata, settings).await, Err(Error::Htpasswd(_))));
}

#[tokio::test]
async fn whom_the_operator_s_backend_names_gets_an_account() {
    let settings = AccountSettings { forward: true, ..AccountSettings::default() };
    let fixture = open(tempfile::tempdir().unwrap(), settings).await;
    assert!(fixture.in_force());
    let first = fixture.vouched(name("dan"), HOME).await.unwrap();
    let again = fixture.vouched(name("dan"), HOME).await.unwrap();
    assert_eq!(first.account().unwrap().id, again.account().unwrap().id);
    assert!(fixture.may(&first, &repository("dan/app"), Right::Push).await.unwrap());
    fixture.assert_wrong(&basic("dan", "")).await;
    let header = fixture.issued(&first, "repository:dan/app:pull").await;
    fixture.signed_in(&header).await;
    fixture.disable("dan", true).await;
    assert!(matches!(fixture.vouched(name("dan"), HOME).await, Err(SignInError::Wrong { .. })));
    fixture.assert_expired(&header).await;
    assert!(matches!(fixture.vouched(name("dan+ci"), HOME).await, Err(SignInError::Wrong { .. })));
}

fn event(action: &'static str) -> AuditEvent {
    AuditEvent {
        account: Some("ann".to_owned()),
        address: Some("::ffff:10.0.0.1".parse().unwrap()),
        action,
        object: None,
        verdict: AuditVerdict::Allowed,
        status: Some(201),
        request_id: None,
        detail: None,
    }
}

async fn logged(accounts: &Accounts) -> Vec<String> {
    let records = accounts.inner.metadata.audit(AuditFilter::default(), 10_000).await.unwrap();
    records.into_iter().map(|record| record.entry.action).collect()
}

#[tokio::test]
async fn a_change_is_in_the_audit_log_when_it_is_answered_and_the_rest_when_it_is_closed() {
    let fixture = fixture().await;
    fixture.record(event("one")).await;
    fixture.record_durably(event("two")).await;
    assert_eq!(logged(&fixture).await, ["user.add", "one", "two"]);
    for _ in 0..1000 {
        fixture.record(event("more")).await;
    }
    fixture.flush_audit().await;
    assert_eq!(logged(&fixture).await.len(), 1003);
    fixture.record(event("last")).await;
    fixture.close().await;
    assert_eq!(logged(&fixture).await.last().unwrap(), "last");
    let records = fixture.inner.metadata.audit(AuditFilter::default(), 2).await.unwrap();
    assert_eq!(records[1].entry.address.as_deref(), Some("10.0.0.1"));
    // Whoever comes after the end neither waits for ever nor fails.
    fixture.record_durably(event("too late")).await;
}

#[tokio::test]
async fn nothing_is_lost_when_more_is_recorded_than_the_queue_holds() {
    let fixture = fixture().await;
    let events = (0..6000).map(|_| fixture.record(event("one")));
    futures_util::future::join_all(events).await;
    fixture.flush_audit().await;
    assert_eq!(logged(&fixture).await.iter().filter(|action| *action == "one").count(), 6000);
}

#[tokio::test]
async fn every_entry_is_shown_to_who_wants_to_see_it_and_old_ones_go() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink: AuditSink = {
        let seen = seen.clone();
        Arc::new(move |entry| seen.lock().unwrap().push(entry.action.clone()))
    };
    let settings = AccountSettings {
        audit_sink: Some(sink),
        audit_retention: Duration::ZERO,
        ..AccountSettings::default()
    };
    let fixture = open(tempfile::tempdir().unwrap(), settings).await;
    fixture.record(event("one")).await;
    fixture.record_durably(event("two")).await;
    assert_eq!(*seen.lock().unwrap(), ["one", "two"]);
    tokio::time::sleep(Duration::from_millis(5)).await;
    fixture.tidy().await.unwrap();
    assert!(logged(&fixture).await.is_empty());
}

#[tokio::test]
async fn keys_change_and_what_the_older_ones_signed_holds() {
    let directory = tempfile::tempdir().unwrap();
    let settings = AccountSettings { key_lifetime: Duration::ZERO, ..AccountSettings::default() };
    let fixture = open(directory, settings).await;
    fixture.ensure_administrator(&name("ann"), PASSWORD).await.unwrap();
    let ann = fixture.signed_in(&basic("ann", PASSWORD)).await;
    let old = fixture.issued(&ann, "repository:ann/app:pull").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    fixture.tidy().await.unwrap();
    assert_eq!(fixture.jwks().keys.len(), 2);
    let new = fixture.issued(&ann, "repository:ann/app:pull").await;
    for header in [&old, &new] {
        fixture.signed_in(header).await;
    }
    // The newer one signs now.
    let kid = |header: &[u8]| jsonwebtoken::decode_header(&header["Bearer ".len()..]).unwrap().kid.unwrap();
    assert_ne!(kid(&old), kid(&new));
    assert_eq!(kid(&new), fixture.jwks().keys[0].kid);
}

#[tokio::test]
async fn who_signed_in_and_what_was_used_is_written_down_and_no_secret_is_shown() {
    let fixture = fixture().await;
    let (token, id) = fixture.token("ann", None, None).await;
    let identity = fixture.signed_in(&bearer(&token)).await;
    fixture.write_down().await.unwrap();
    let (token_record, account) = fixture.inner.metadata.token(id).await.unwrap().unwrap();
    assert!(token_record.last_used_at.is_some() && account.last_seen_at.is_some());
    let by_password = fixture.signed_in(&basic("ann", PASSWORD)).await;
    let shown =
        format!("{identity:?} {by_password:?} {:?}", fixture.refused(&basic("ann", "hunter22")).await);
    for secret in [token.as_str(), PASSWORD, "hunter22", "argon2"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
