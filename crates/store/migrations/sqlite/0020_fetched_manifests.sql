-- Whether a manifest came from an upstream registry and can be fetched again. Pushed manifests are never evicted.
ALTER TABLE manifests ADD COLUMN fetched INTEGER NOT NULL DEFAULT 0;

-- A repository with a tag that no upstream has named also has pushed manifests, so all of its manifests stay.
UPDATE manifests SET fetched = 1 WHERE repository IN (
    SELECT r.id FROM repositories r
    WHERE EXISTS (SELECT 1 FROM upstream_tags u WHERE u.repository = r.name)
      AND NOT EXISTS (
          SELECT 1 FROM tags t WHERE t.repository = r.id AND t.hidden = 0
          AND NOT EXISTS (SELECT 1 FROM upstream_tags u WHERE u.repository = r.name AND u.tag = t.name)));
