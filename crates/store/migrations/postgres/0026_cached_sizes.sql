-- The size of a repository includes the linked layers that its images may lack, such as those of cached images.
UPDATE repositories SET is_sized = 0 WHERE id IN
    (SELECT m.repository FROM manifest_parts p JOIN manifests m ON m.blob = p.manifest
     WHERE p.required = 0 AND p.is_manifest = 0);
