//! `/v2/`.

use crate::harness::TestRegistry;

#[tokio::test]
async fn base_announces_a_registry() {
    let registry = TestRegistry::start().await;
    for path in ["/v2/", "/v2"] {
        registry.get(path).await.is(200).has("docker-distribution-api-version", "registry/2.0").carries("{}");
        registry.head(path).await.is(200).has("content-length", 2).carries("");
    }
}
