//! `/v1/_ping` and `/_ping`.

use crate::harness::TestRegistry;

#[tokio::test]
async fn ping_announces_the_search() {
    let registry = TestRegistry::start().await;
    for path in ["/v1/_ping", "/_ping"] {
        let answer = registry.get(path).await.is(200).has("x-docker-registry-standalone", "true");
        assert!(answer.header("x-docker-registry-version").is_some());
        assert_eq!(answer.json()["standalone"], true);
    }
}
