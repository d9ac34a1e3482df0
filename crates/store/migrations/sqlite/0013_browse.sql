-- The repositories by their last push, for lists in that order.
CREATE INDEX repositories_by_update ON repositories (updated_at, id) WHERE manifests > 0;
