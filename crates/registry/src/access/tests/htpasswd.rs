//! Accounts of an htpasswd file.

use super::*;

/// Writes a file with one user and the password `secret` (`htpasswd -nbs`), and returns its path.
fn write_passwd(directory: &TempDir, user: &str) -> PathBuf {
    let path = directory.path().join("passwd");
    std::fs::write(&path, format!("{user}:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")).unwrap();
    path
}

#[tokio::test]
async fn htpasswd_users_are_accounts() {
    let directory = tempfile::tempdir().unwrap();
    let path = write_passwd(&directory, "dan");
    let settings = AccountSettings { htpasswd: Some(path.clone()), ..AccountSettings::default() };
    let fixture = open(directory, settings).await;
    assert!(fixture.in_force(), "access control is in force from the start");
    let header = basic("dan", "secret");
    let dan = fixture.signed_in(&header).await;
    assert!(fixture.is_allowed(&dan, &repository("dan/app"), Right::Delete).await.unwrap());
    assert!(!fixture.is_allowed(&dan, &repository("eve/app"), Right::Pull).await.unwrap());
    fixture.assert_wrong(&basic("dan", "Secret")).await;
    let before = fixture.hashes();
    fixture.assert_wrong(&basic("nobody", "secret")).await;
    assert_eq!(fixture.hashes() - before, 1);
    let by_bearer = fixture.issued(&dan, "repository:dan/app:pull").await;
    fixture.signed_in(&by_bearer).await;

    // A change applies after two polls.
    let poll = async || {
        for _ in 0..2 {
            fixture.poll_htpasswd().await.unwrap();
        }
    };
    let lines = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("broken\n{lines}")).unwrap();
    poll().await;
    fixture.signed_in(&header).await;

    write_passwd(&fixture.directory, "eve");
    poll().await;
    assert!(fixture.cached_identity(&header, HOME).is_none());
    fixture.assert_wrong(&header).await;
    fixture.assert_expired(&by_bearer).await;
    fixture.signed_in(&basic("eve", "secret")).await;
    write_passwd(&fixture.directory, "dan");
    poll().await;
    fixture.signed_in(&header).await;
}

#[tokio::test]
async fn missing_htpasswd_file_fails_the_open() {
    let directory = tempfile::tempdir().unwrap();
    let metadata = Metadata::open(&directory.path().join("metadata.db")).unwrap();
    let settings =
        AccountSettings { htpasswd: Some(directory.path().join("none")), ..AccountSettings::default() };
    assert!(matches!(Accounts::open(metadata, settings).await, Err(Error::Htpasswd(_))));
}
